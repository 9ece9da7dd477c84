# CloudWatch's page: what comes in, what it costs to answer, what the money does.

locals {
  # Title -> metrics of one graph, two graphs a row.
  graphs = [
    { title = "Calls", metrics = ["Invocations", "Errors"], statistic = "Sum" },
    { title = "Time of a call (ms)", metrics = ["Duration"], statistic = "Average" },
    { title = "Bids", metrics = ["Requests", "Matches", "Refusals"], statistic = "Sum" },
    { title = "Asks that can be matched", metrics = ["AsksLive"], statistic = "Maximum" },
    { title = "MemoryDB", metrics = ["RedisOperations", "RedisErrors"], statistic = "Sum" },
    { title = "Time of MemoryDB (ms)", metrics = ["RedisLatency"], statistic = "Average" },
    { title = "Ledger", metrics = ["LedgerOperations", "LedgerErrors"], statistic = "Sum" },
    { title = "Time of the ledger (ms)", metrics = ["LedgerLatency"], statistic = "Average" },
    { title = "Purchases", metrics = ["PaymentsSucceeded", "PaymentsCancelled"], statistic = "Sum" },
    { title = "Low balances", metrics = ["LowBalanceAlerts"], statistic = "Maximum" },
    { title = "What waits for a person", metrics = ["AlertsOpen", "PayoutsHalted", "ReconciliationBreaks", "HoldsOverdue"], statistic = "Maximum" },
    { title = "Age of the oldest event of Stripe (s)", metrics = ["WebhookLag"], statistic = "Maximum" },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for place, graph in local.graphs : {
        type   = "metric"
        x      = 12 * (place % 2)
        y      = 6 * floor(place / 2)
        width  = 12
        height = 6
        properties = {
          title   = graph.title
          region  = var.region
          view    = "timeSeries"
          stat    = graph.statistic
          period  = 60
          metrics = [for metric in graph.metrics : ["GoLLeM", metric, "Service", "exchange"]]
        }
      }
    ]
  })
}
