# Who may do what. Two roles: what starts a task (its image, its logs, its secrets), and what a task does (its tables).

locals {
  # Exactly what the code asks of DynamoDB; a transaction needs the action of each part. tests/deploy compares.
  ledger_actions = [
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
  ]
  key_actions = [
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
  ]
}

data "aws_iam_policy_document" "tasks_only" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    # Not for tasks of somebody else's account.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-task-"
  assume_role_policy = data.aws_iam_policy_document.tasks_only.json
}

resource "aws_iam_role_policy" "tables" {
  name   = "tables"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.tables.json
}

data "aws_iam_policy_document" "tables" {
  statement {
    sid       = "Ledger"
    actions   = local.ledger_actions
    resources = [aws_dynamodb_table.ledger.arn, "${aws_dynamodb_table.ledger.arn}/index/*"]
  }

  statement {
    sid       = "Keys"
    actions   = local.key_actions
    resources = [aws_dynamodb_table.keys.arn, "${aws_dynamodb_table.keys.arn}/index/*"]
  }
}

resource "aws_iam_role" "start" {
  name_prefix        = "${var.name}-start-"
  assume_role_policy = data.aws_iam_policy_document.tasks_only.json
}

resource "aws_iam_role_policy" "start" {
  name   = "start"
  role   = aws_iam_role.start.id
  policy = data.aws_iam_policy_document.start.json
}

data "aws_iam_policy_document" "start" {
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.container : "${group.arn}:*"]
  }

  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = values(local.secret_arns)
  }

  dynamic "statement" {
    for_each = var.image_repository_arn == "" ? [] : [var.image_repository_arn]

    content {
      sid       = "Image"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.image_repository_arn == "" ? [] : [var.image_repository_arn]

    content {
      sid       = "Login"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"] # ECR knows no other for it
    }
  }
}
