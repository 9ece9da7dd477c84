# What one needs to know afterwards.

output "endpoint" {
  description = "Where the exchange is: gRPC and HTTP at port 443. Point the certificate's name at it (CNAME or alias)."
  value       = "https://${aws_lb.this.dns_name}"
}

output "webhook_url" {
  description = "The address for Stripe's two webhook endpoints, with the certificate's name in place of the balancer's."
  value       = "https://${aws_lb.this.dns_name}/webhooks/stripe"
}

output "ledger_url" {
  description = "For `gollem ledger ... --ledger`."
  value       = local.settings["storage.ledger"]
}

output "keys_url" {
  description = "For `gollem keys ... --keys`."
  value       = local.settings["storage.keys"]
}

output "secrets_to_fill" {
  description = "Secrets that are empty until somebody puts a value into them."
  value       = { for setting, secret in aws_secretsmanager_secret.by_hand : setting => secret.name }
}

output "addresses_out" {
  description = "Where the exchanges' own calls come from, for firewalls of agents."
  value       = aws_eip.out[*].public_ip
}

output "dashboard" {
  description = "CloudWatch's page."
  value       = "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.this.dashboard_name}"
}

output "cluster" {
  description = "For `aws ecs` commands; the service has the same name."
  value       = aws_ecs_cluster.this.name
}
