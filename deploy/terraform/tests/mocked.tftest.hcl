# What would be made, with AWS mocked and the provider's own checks real; `make terraform-check` runs it.

mock_provider "aws" {
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["eu-west-1a", "eu-west-1b", "eu-west-1c", "eu-west-1d"] }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:alarms" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/gollem/0", dns_name = "gollem.example" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/gollem/0" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/gollem/0/0" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/gollem" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/gollem:1" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/gollem" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gollem" }
  }
  mock_resource "aws_memorydb_cluster" {
    defaults = { cluster_endpoint = [{ address = "book.example", port = 6379 }] }
  }
}

variables {
  region          = "eu-west-1"
  image           = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/gollem@sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/0"
  book_passwords  = ["0123456789abcdef0123456789abcdef"]
}

run "made" {
  command = apply

  variables {
    payments               = "stripe"
    stripe_publishable_key = "pk_test_51AbC"
    image_repository_arn   = "arn:aws:ecr:eu-west-1:123456789012:repository/gollem"
    settings               = { "market.fee_bps" = "400" }
    alarm_addresses        = ["ops@example.com"]
    operators              = ["sg-0123456789abcdef0"]
  }

  assert {
    condition     = length(distinct(aws_subnet.private[*].availability_zone)) == 3 && aws_ecs_service.exchange.desired_count == 2
    error_message = "must be two tasks over three zones"
  }

  assert {
    condition     = aws_memorydb_cluster.book.tls_enabled && aws_memorydb_cluster.book.num_replicas_per_shard == 2
    error_message = "the book must speak TLS and have a replica in each other zone"
  }

  assert {
    condition     = alltrue([for table in [aws_dynamodb_table.ledger, aws_dynamodb_table.keys] : table.deletion_protection_enabled && table.point_in_time_recovery[0].enabled])
    error_message = "tables must be protected and recoverable"
  }

  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.exchange.container_definitions) :
      container.readonlyRootFilesystem && container.user == "10001:10001" && container.linuxParameters.capabilities.drop == ["ALL"]
    ])
    error_message = "containers must be confined"
  }

  assert {
    condition = toset([for secret in jsondecode(aws_ecs_task_definition.exchange.container_definitions)[0].secrets : secret.name]) == toset([
      "GOLLEM_NODES_BOOK", "GOLLEM_PAYMENTS_CONNECT_SECRETS", "GOLLEM_PAYMENTS_STRIPE_KEY", "GOLLEM_PAYMENTS_WEBHOOK_SECRETS", "GOLLEM_STORAGE_GRANT_KEYS",
    ])
    error_message = "the exchange must be given its secrets, and no others"
  }

  assert {
    condition     = !can(jsondecode(aws_ecs_task_definition.exchange.container_definitions)[1].secrets)
    error_message = "the gateway needs no secret"
  }

  assert {
    condition     = strcontains(aws_ecs_task_definition.exchange.container_definitions, "{\"name\":\"GOLLEM_MARKET_FEE_BPS\",\"value\":\"400\"}")
    error_message = "a setting must reach the exchange"
  }

  assert {
    condition     = !strcontains(aws_ecs_task_definition.exchange.container_definitions, "0123456789abcdef")
    error_message = "a password must not be in the task's description"
  }

  assert {
    condition     = aws_secretsmanager_secret_version.book.secret_string == "rediss+cluster://gollem-exchange:0123456789abcdef0123456789abcdef@book.example:6379"
    error_message = "the book's URL must name its user"
  }

  assert {
    condition     = output.endpoint == "https://gollem.example" && length(output.secrets_to_fill) == 4
    error_message = "outputs must say where it is and what is to be filled"
  }
}

run "one_task_is_refused" {
  command         = plan
  expect_failures = [var.tasks]
  variables { tasks = { least = 1, most = 1 } }
}

run "one_zone_is_refused" {
  command         = plan
  expect_failures = [var.zones]
  variables { zones = 1 }
}

run "a_tag_is_refused" {
  command         = plan
  expect_failures = [var.image]
  variables { image = "gollem:latest" }
}

run "a_short_password_is_refused" {
  command         = plan
  expect_failures = [var.book_passwords]
  variables { book_passwords = ["secret"] }
}

run "play_money_is_refused" {
  command         = plan
  expect_failures = [var.payments]
  variables { payments = "local" }
}

run "cards_want_the_publishable_key" {
  command         = plan
  expect_failures = [var.stripe_publishable_key]
  variables { payments = "stripe" }
}

run "a_secret_key_is_no_publishable_one" {
  command         = plan
  expect_failures = [var.stripe_publishable_key]
  variables { stripe_publishable_key = "sk_live_51AbC" }
}

run "a_secret_among_settings_is_refused" {
  command         = plan
  expect_failures = [var.settings]
  variables { settings = { "payments.stripe_key" = "x" } }
}

run "other_choices_are_refused" {
  command = plan
  expect_failures = [
    var.name, var.region, var.image_repository_arn, var.certificate_arn, var.callers, var.network, var.operators, var.size,
    var.architecture, var.book_node_type, var.book_shards, var.alarm_addresses, var.log_days,
  ]
  variables {
    name                 = "An exchange"
    region               = "Dublin"
    image_repository_arn = "gollem"
    certificate_arn      = "gollem"
    callers              = []
    network              = "10.0.0.0/24"
    operators            = ["me"]
    size                 = { cpu = 1024, memory_mib = 1024 }
    architecture         = "SPARC"
    book_node_type       = "t4g"
    book_shards          = 0
    alarm_addresses      = ["me"]
    log_days             = 8
  }
}
