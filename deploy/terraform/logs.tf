# One log group a container; figures in them become metrics by themselves (docs/watch.md).

resource "aws_cloudwatch_log_group" "container" {
  for_each          = toset(["exchange", "gateway"])
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
}

locals {
  logs = {
    for name, group in aws_cloudwatch_log_group.container : name => {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = group.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = name
        # A log that cannot be written must not stop an exchange.
        "mode"            = "non-blocking"
        "max-buffer-size" = "25m"
      }
    }
  }
}
