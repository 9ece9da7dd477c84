# What wakes somebody. Each alarm says what it means; docs/runbooks.md what to do.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic_subscription" "mail" {
  for_each  = toset(var.alarm_addresses)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

locals {
  # What the exchanges tell in their logs. `missing`: what no figure at all means.
  told = {
    not-ready       = { metric = "Ready", statistic = "Maximum", below = 1, minutes = 3, missing = "breaching", about = "No exchange takes calls." }
    errors          = { metric = "Errors", statistic = "Sum", above = 20, minutes = 5, missing = "notBreaching", about = "Calls fail for reasons of ours." }
    slow            = { metric = "Duration", statistic = "Average", above = 500, minutes = 5, missing = "notBreaching", about = "Calls take long, in ms." }
    book-slow       = { metric = "RedisLatency", statistic = "Average", above = 50, minutes = 5, missing = "notBreaching", about = "MemoryDB takes long, in ms." }
    book-errors     = { metric = "RedisErrors", statistic = "Sum", above = 10, minutes = 5, missing = "notBreaching", about = "MemoryDB refuses or does not answer." }
    book-away       = { metric = "SharedBookDegraded", statistic = "Maximum", above = 0, minutes = 2, missing = "notBreaching", about = "A node is cut off from the shared book." }
    ledger-errors   = { metric = "LedgerErrors", statistic = "Sum", above = 10, minutes = 5, missing = "notBreaching", about = "The ledger refuses or does not answer." }
    ledger-slow     = { metric = "LedgerLatency", statistic = "Average", above = 200, minutes = 5, missing = "notBreaching", about = "The ledger takes long, in ms." }
    books-broken    = { metric = "ReconciliationBreaks", statistic = "Maximum", above = 0, minutes = 1, missing = "notBreaching", about = "The books do not agree: payouts are halted." }
    payouts-halted  = { metric = "PayoutsHalted", statistic = "Maximum", above = 0, minutes = 1, missing = "notBreaching", about = "Payouts are halted until a person says go on." }
    holds-overdue   = { metric = "HoldsOverdue", statistic = "Maximum", above = 0, minutes = 10, missing = "notBreaching", about = "Money is held past its deadline." }
    webhook-lag     = { metric = "WebhookLag", statistic = "Maximum", above = 600, minutes = 5, missing = "notBreaching", about = "Events of Stripe wait, in s." }
    events-dead     = { metric = "PaymentEventsDead", statistic = "Maximum", above = 0, minutes = 1, missing = "notBreaching", about = "Events of Stripe were given up." }
    payments-failed = { metric = "PaymentsCancelled", statistic = "Sum", above = 20, minutes = 15, missing = "notBreaching", about = "Many purchases come to nothing." }
    low-balances    = { metric = "LowBalanceAlerts", statistic = "Maximum", above = 100, minutes = 15, missing = "notBreaching", about = "Many accounts are below the balance they set." }
    cases-open      = { metric = "AlertsOpen", statistic = "Maximum", above = 0, minutes = 15, missing = "notBreaching", about = "Something waits for a person: `gollem cases list`." }
    no-asks         = { metric = "AsksLive", statistic = "Maximum", below = 1, minutes = 5, missing = "notBreaching", about = "Nothing is for sale." }
  }

  # What AWS tells of its own.
  observed = {
    balancer-errors   = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum", above = 20, minutes = 5, dimensions = { LoadBalancer = aws_lb.this.arn_suffix }, about = "The balancer finds nobody to answer." }
    targets-unhealthy = { namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum", above = 0, minutes = 5, dimensions = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.grpc.arn_suffix }, about = "An exchange does not say that it is well." }
    busy              = { namespace = "AWS/ECS", metric = "CPUUtilization", statistic = "Average", above = 80, minutes = 10, dimensions = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.exchange.name }, about = "Exchanges are at their limit." }
    memory            = { namespace = "AWS/ECS", metric = "MemoryUtilization", statistic = "Maximum", above = 85, minutes = 10, dimensions = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.exchange.name }, about = "An exchange may be killed for its memory." }
    table-throttled   = { namespace = "AWS/DynamoDB", metric = "WriteThrottleEvents", statistic = "Sum", above = 100, minutes = 5, dimensions = { TableName = aws_dynamodb_table.ledger.name }, about = "DynamoDB slows the ledger down." }
    table-errors      = { namespace = "AWS/DynamoDB", metric = "SystemErrors", statistic = "Sum", above = 5, minutes = 5, dimensions = { TableName = aws_dynamodb_table.ledger.name, Operation = "TransactWriteItems" }, about = "DynamoDB fails." }
    book-memory       = { namespace = "AWS/MemoryDB", metric = "DatabaseMemoryUsagePercentage", statistic = "Maximum", above = 75, minutes = 10, dimensions = { ClusterName = aws_memorydb_cluster.book.name }, about = "MemoryDB fills up." }
    book-busy         = { namespace = "AWS/MemoryDB", metric = "EngineCPUUtilization", statistic = "Maximum", above = 80, minutes = 10, dimensions = { ClusterName = aws_memorydb_cluster.book.name }, about = "MemoryDB is at its limit: more shards." }
  }
}

resource "aws_cloudwatch_metric_alarm" "told" {
  for_each            = local.told
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = "GoLLeM"
  metric_name         = each.value.metric
  dimensions          = { Service = "exchange" }
  statistic           = each.value.statistic
  comparison_operator = can(each.value.below) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "observed" {
  for_each            = local.observed
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
