# The one public door: an Application Load Balancer, which spreads calls, not connections (docs/decisions/0014).
# gRPC goes to Envoy as it is, all else as HTTP/1.1; Envoy sorts it.

locals {
  gateway_port = 8090
  metrics_port = 9090
  # Below Envoy's own (gateway.idle_timeout_ms), or the balancer would now and then use a connection just closed.
  idle_timeout_s = 240
  drain_s        = 60
}

resource "aws_lb" "this" {
  name                       = var.name
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer.id]
  subnets                    = aws_subnet.public[*].id
  idle_timeout               = local.idle_timeout_s
  enable_deletion_protection = var.protected
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "grpc" {
  name                          = "${var.name}-grpc"
  vpc_id                        = aws_vpc.this.id
  target_type                   = "ip"
  port                          = local.gateway_port
  protocol                      = "HTTP"
  protocol_version              = "GRPC"
  deregistration_delay          = local.drain_s
  load_balancing_algorithm_type = "least_outstanding_requests"

  # Asked of the exchange itself, through Envoy; 0 is OK. A server that drains says NOT_SERVING, which is no error.
  health_check {
    path                = "/grpc.health.v1.Health/Check"
    matcher             = "0"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  lifecycle { create_before_destroy = true }
}

resource "aws_lb_target_group" "http" {
  name                          = "${var.name}-http"
  vpc_id                        = aws_vpc.this.id
  target_type                   = "ip"
  port                          = local.gateway_port
  protocol                      = "HTTP"
  protocol_version              = "HTTP1"
  deregistration_delay          = local.drain_s
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    port                = local.metrics_port
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  lifecycle { create_before_destroy = true }
}

resource "aws_lb_listener" "tls" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.http.arn
  }
}

# Not application/grpc-web, which is HTTP/1.1 as well.
resource "aws_lb_listener_rule" "grpc" {
  listener_arn = aws_lb_listener.tls.arn
  priority     = 10

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.grpc.arn
  }

  condition {
    http_header {
      http_header_name = "content-type"
      values           = ["application/grpc", "application/grpc+*", "application/grpc;*"]
    }
  }
}
