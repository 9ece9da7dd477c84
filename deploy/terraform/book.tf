# The shared book: MemoryDB over several zones, TLS only, one user who may do what the exchange does and nothing else.

locals {
  book_port = 6379
  # What gollem/nodes asks of Redis, and what its library asks of the Cluster. Keys all begin with gollem.
  book_commands = [
    "auth", "client|setinfo", "client|setname", "cluster|nodes", "cluster|shards", "cluster|slots", "command", "echo",
    "fcall", "function|load", "get", "hdel", "hello", "hget", "hgetall", "hincrby", "hmget", "hscan", "hset", "info",
    "pexpire", "ping", "pttl", "quit", "readonly", "readwrite", "set", "time", "xadd", "xread", "zadd", "zcard",
    "zrange", "zrem", "zscore",
  ]
}

resource "aws_memorydb_subnet_group" "book" {
  name       = "${var.name}-book"
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_memorydb_user" "exchange" {
  user_name     = "${var.name}-exchange"
  access_string = "on ~gollem* -@all ${join(" ", [for command in local.book_commands : "+${command}"])}"

  authentication_mode {
    type      = "password"
    passwords = var.book_passwords
  }
}

resource "aws_memorydb_acl" "book" {
  name       = "${var.name}-book"
  user_names = [aws_memorydb_user.exchange.user_name]
}

resource "aws_memorydb_cluster" "book" {
  name                     = "${var.name}-book"
  engine                   = "valkey"
  engine_version           = "7.3"
  node_type                = var.book_node_type
  num_shards               = var.book_shards
  num_replicas_per_shard   = var.zones - 1
  port                     = local.book_port
  acl_name                 = aws_memorydb_acl.book.name
  subnet_group_name        = aws_memorydb_subnet_group.book.name
  security_group_ids       = [aws_security_group.book.id]
  tls_enabled              = true
  parameter_group_name     = "default.memorydb-valkey7"
  snapshot_retention_limit = 1
  sns_topic_arn            = aws_sns_topic.alarms.arn
}
