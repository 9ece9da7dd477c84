# The tables: the ledger as `gollem ledger create` makes it, and the API keys as `gollem keys table` does.

resource "aws_dynamodb_table" "ledger" {
  name                        = "${var.name}-ledger"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.protected
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  attribute {
    name = "dated"
    type = "S"
  }

  attribute {
    name = "dated_by"
    type = "S"
  }

  attribute {
    name = "listed"
    type = "S"
  }

  global_secondary_index {
    name            = "dated"
    projection_type = "KEYS_ONLY"

    key_schema {
      attribute_name = "dated"
      key_type       = "HASH"
    }

    key_schema {
      attribute_name = "dated_by"
      key_type       = "RANGE"
    }
  }

  global_secondary_index {
    name            = "listed"
    projection_type = "KEYS_ONLY"

    key_schema {
      attribute_name = "listed"
      key_type       = "HASH"
    }

    key_schema {
      attribute_name = "pk"
      key_type       = "RANGE"
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }

}

resource "aws_dynamodb_table" "keys" {
  name                        = "${var.name}-keys"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "key_id"
  deletion_protection_enabled = var.protected

  attribute {
    name = "key_id"
    type = "S"
  }

  attribute {
    name = "listed"
    type = "S"
  }

  attribute {
    name = "listed_by"
    type = "S"
  }

  global_secondary_index {
    name            = "listed"
    projection_type = "ALL"

    key_schema {
      attribute_name = "listed"
      key_type       = "HASH"
    }

    key_schema {
      attribute_name = "listed_by"
      key_type       = "RANGE"
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }

}

locals {
  table_arns = flatten([for table in [aws_dynamodb_table.ledger, aws_dynamodb_table.keys] : [table.arn, "${table.arn}/index/*"]])
}
