# More exchanges under load, and fewer again. One uses one core, so CPU says how busy it is.

resource "aws_appautoscaling_target" "exchange" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.exchange.name}"
  min_capacity       = var.tasks.least
  max_capacity       = var.tasks.most
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.exchange.service_namespace
  scalable_dimension = aws_appautoscaling_target.exchange.scalable_dimension
  resource_id        = aws_appautoscaling_target.exchange.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 40
    scale_in_cooldown  = 600
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
