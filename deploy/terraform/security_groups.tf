# Who may speak to whom: callers to the balancer, the balancer to Envoy, exchanges to the book.

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer-"
  description = "The load balancer"
  vpc_id      = aws_vpc.this.id

  lifecycle { create_before_destroy = true }
}

resource "aws_security_group" "exchange" {
  name_prefix = "${var.name}-exchange-"
  description = "Exchanges, each with its Envoy"
  vpc_id      = aws_vpc.this.id

  lifecycle { create_before_destroy = true }
}

resource "aws_security_group" "book" {
  name_prefix = "${var.name}-book-"
  description = "The shared book on MemoryDB"
  vpc_id      = aws_vpc.this.id

  lifecycle { create_before_destroy = true }
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each          = toset(var.callers)
  security_group_id = aws_security_group.balancer.id
  description       = "Callers, over TLS"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_envoy" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Envoy"
  referenced_security_group_id = aws_security_group.exchange.id
  ip_protocol                  = "tcp"
  from_port                    = local.gateway_port
  to_port                      = local.gateway_port
}

resource "aws_vpc_security_group_ingress_rule" "envoy_from_balancer" {
  security_group_id            = aws_security_group.exchange.id
  description                  = "The load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.gateway_port
  to_port                      = local.gateway_port
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_health" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Readiness"
  referenced_security_group_id = aws_security_group.exchange.id
  ip_protocol                  = "tcp"
  from_port                    = local.metrics_port
  to_port                      = local.metrics_port
}

resource "aws_vpc_security_group_ingress_rule" "health_from_balancer" {
  security_group_id            = aws_security_group.exchange.id
  description                  = "Readiness, asked by the load balancer"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.metrics_port
  to_port                      = local.metrics_port
}

# Operators' calls have no way through Envoy: they are made to an exchange itself, from inside.
resource "aws_vpc_security_group_ingress_rule" "exchange_from_operators" {
  for_each                     = toset(var.operators)
  security_group_id            = aws_security_group.exchange.id
  description                  = "Operators"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.exchange_port
  to_port                      = local.exchange_port
}

# Agents listen where they like, and their answers are relayed; Stripe and AWS are at 443.
resource "aws_vpc_security_group_egress_rule" "exchange_to_agents" {
  security_group_id = aws_security_group.exchange.id
  description       = "Agents, Stripe and AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 1
  to_port           = 65535
}

resource "aws_vpc_security_group_ingress_rule" "book_from_exchange" {
  security_group_id            = aws_security_group.book.id
  description                  = "Exchanges"
  referenced_security_group_id = aws_security_group.exchange.id
  ip_protocol                  = "tcp"
  from_port                    = local.book_port
  to_port                      = local.book_port
}
