# Secrets. Those of people are made empty here and filled by hand, so that they are in no state file:
#   aws secretsmanager put-secret-value --secret-id NAME --secret-string file:///dev/stdin

locals {
  # Setting -> what it is. The exchange does not start while one of them is empty.
  secrets_by_hand = merge(
    { "storage.grant_keys" = "keys that sign grants, as `gollem keys grant` makes them" },
    var.payments == "stripe" ? {
      "payments.stripe_key"      = "restricted key of the Stripe account"
      "payments.webhook_secrets" = "signing secrets of the platform's webhook endpoint"
      "payments.connect_secrets" = "signing secrets of the connected accounts' endpoint"
    } : {},
  )
  # Setting -> ARN, of all secrets that a task is given.
  secret_arns = merge(
    { for setting, secret in aws_secretsmanager_secret.by_hand : setting => secret.arn },
    { "nodes.book" = aws_secretsmanager_secret.book.arn },
  )
}

resource "aws_secretsmanager_secret" "by_hand" {
  for_each                = local.secrets_by_hand
  name                    = "${var.name}/${each.key}"
  description             = each.value
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret" "book" {
  name                    = "${var.name}/nodes.book"
  description             = "URL of the shared book, with its password"
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_version" "book" {
  secret_id = aws_secretsmanager_secret.book.id
  secret_string = format(
    "rediss+cluster://%s:%s@%s:%d",
    aws_memorydb_user.exchange.user_name,
    var.book_passwords[0],
    aws_memorydb_cluster.book.cluster_endpoint[0].address,
    local.book_port,
  )
}
