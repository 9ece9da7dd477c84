# The exchanges: one task is an exchange and its Envoy, spread over the zones, replaced a few at a time.

locals {
  exchange_port = 50051
  bridge_port   = 8080

  settings = merge({
    "server.host"             = "0.0.0.0"
    "server.port"             = tostring(local.exchange_port)
    "server.metrics_host"     = "0.0.0.0"
    "server.metrics_port"     = tostring(local.metrics_port)
    "server.drain_timeout_ms" = tostring(local.drain_s * 1000)
    "storage.data"            = local.data_folder
    "storage.ledger"          = "dynamodb://${aws_dynamodb_table.ledger.name}?region=${var.region}"
    "storage.keys"            = "dynamodb://${aws_dynamodb_table.keys.name}?region=${var.region}"
    "payments.gateway"        = var.payments
    "bridge.port"             = tostring(local.bridge_port)
    "bridge.dashboard"        = "true"
    "observability.log"       = "json"
    "observability.emf"       = "true"
    "gateway.listen"          = "0.0.0.0:${local.gateway_port}"
    "gateway.exchange"        = "127.0.0.1:${local.exchange_port}"
    "gateway.bridge"          = "127.0.0.1:${local.bridge_port}"
    "gateway.trusted_hops"    = "1"
  }, local.payment_form, var.settings)

  # The dashboard cannot take cards without it.
  payment_form = var.payments == "stripe" ? { "payments.stripe_publishable_key" = var.stripe_publishable_key } : {}

  data_folder = "/var/lib/gollem"
  # `server.port` is GOLLEM_SERVER_PORT in the environment.
  variables = [for key, value in local.settings : { name = local.variable[key], value = value }]
  variable  = { for key in concat(keys(local.settings), keys(local.secret_arns)) : key => upper("GOLLEM_${replace(key, ".", "_")}") }

  # Of both containers: nobody's user, nothing written but to volumes, no right that can be had later.
  confined = {
    image                  = var.image
    essential              = true
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    environment            = local.variables
    stopTimeout            = local.drain_s + 30
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
  }
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "exchange" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory_mib
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.start.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  # Empty at every start: what has to last is in the tables.
  volume {
    name = "data"
  }

  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([
    merge(local.confined, {
      name             = "exchange"
      command          = ["serve"]
      secrets          = [for key, arn in local.secret_arns : { name = local.variable[key], valueFrom = arn }]
      portMappings     = [for port in [local.exchange_port, local.metrics_port] : { containerPort = port, hostPort = port, protocol = "tcp" }]
      mountPoints      = [{ sourceVolume = "data", containerPath = local.data_folder, readOnly = false }]
      logConfiguration = local.logs["exchange"]
      # The image's own check, which ECS does not read.
      healthCheck = {
        command     = ["CMD", "gollem-healthy"]
        interval    = 10
        timeout     = 5
        retries     = 3
        startPeriod = 120
      }
    }),
    merge(local.confined, {
      name             = "gateway"
      command          = ["gateway"]
      portMappings     = [{ containerPort = local.gateway_port, hostPort = local.gateway_port, protocol = "tcp" }]
      mountPoints      = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
      logConfiguration = local.logs["gateway"]
      dependsOn        = [{ containerName = "exchange", condition = "HEALTHY" }]
    }),
  ])
}

resource "aws_ecs_service" "exchange" {
  name                               = var.name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.exchange.arn
  launch_type                        = "FARGATE"
  desired_count                      = var.tasks.least
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  availability_zone_rebalancing      = "ENABLED"
  propagate_tags                     = "SERVICE"
  depends_on                         = [aws_lb_listener.tls, aws_lb_listener_rule.grpc, aws_secretsmanager_secret_version.book]

  # A release that does not come up is taken back.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.exchange.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.grpc.arn
    container_name   = "gateway"
    container_port   = local.gateway_port
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.http.arn
    container_name   = "gateway"
    container_port   = local.gateway_port
  }

  lifecycle { ignore_changes = [desired_count] } # scaling.tf moves it
}
