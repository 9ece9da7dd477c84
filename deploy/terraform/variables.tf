# What is to be chosen, with the rule of each beside it.

variable "name" {
  description = "What everything here is called; several exchanges in one account need several names."
  type        = string
  default     = "gollem"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name: 3 to 20 of a-z, 0-9 and -, beginning with a letter: load balancers allow no more."
  }
}

variable "region" {
  description = "The AWS region, such as eu-west-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: must be such as eu-west-1."
  }
}

variable "image" {
  description = "The container image by its digest, so that every task runs the same: repository@sha256:..."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9./:_-]*@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image: must end in @sha256: and 64 hexadecimal digits; a tag may come to mean another image."
  }
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository that the image is pulled from; empty for a registry that is public."
  type        = string
  default     = ""

  validation {
    condition     = var.image_repository_arn == "" || can(regex("^arn:[a-z-]+:ecr:", var.image_repository_arn))
    error_message = "image_repository_arn: must be an ARN of ECR, or empty."
  }
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate that callers are shown; gRPC needs TLS at the load balancer."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn: must be the ARN of a certificate in ACM."
  }
}

variable "callers" {
  description = "CIDR blocks that may call the exchange."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.callers) > 0 && alltrue([for block in var.callers : can(cidrhost(block, 0))])
    error_message = "callers: must be one or more CIDR blocks, such as 0.0.0.0/0."
  }
}

variable "operators" {
  description = "Security groups in this network whose machines may make operators' calls (`gollem cases`, `credits grant`)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for group in var.operators : can(regex("^sg-[0-9a-f]+$", group))])
    error_message = "operators: must be ids of security groups, such as sg-0123456789abcdef0."
  }
}

variable "network" {
  description = "CIDR block of the network that is made, a /16 to /20."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.network, 0)) && tonumber(split("/", var.network)[1]) >= 16 && tonumber(split("/", var.network)[1]) <= 20
    error_message = "network: must be a CIDR block from /16 to /20."
  }
}

variable "zones" {
  description = "How many availability zones everything is spread over."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones: must be 2 or 3: one zone is a single point of failure, and few regions have four."
  }
}

variable "tasks" {
  description = "How many exchanges run, and the most that they may become under load."
  type        = object({ least = number, most = number })
  default     = { least = 2, most = 6 }

  validation {
    condition     = var.tasks.least >= 2 && var.tasks.most >= var.tasks.least && var.tasks.most <= 50
    error_message = "tasks: least must be 2 or more, so that one may fail, and most from least to 50."
  }
}

variable "size" {
  description = "CPU units and MiB of memory of a task, one exchange and its Envoy."
  type        = object({ cpu = number, memory_mib = number })
  default     = { cpu = 2048, memory_mib = 4096 }

  validation {
    condition     = contains([1024, 2048, 4096, 8192], var.size.cpu) && var.size.memory_mib >= 2 * var.size.cpu && var.size.memory_mib <= 8 * var.size.cpu && var.size.memory_mib % 1024 == 0
    error_message = "size: cpu must be 1024, 2048, 4096 or 8192, and memory_mib whole GiB from twice to eight times that, as Fargate has them."
  }
}

variable "architecture" {
  description = "What the image was built for."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "architecture: must be X86_64 or ARM64."
  }
}

variable "book_node_type" {
  description = "Type of MemoryDB's nodes."
  type        = string
  default     = "db.t4g.small"

  validation {
    condition     = startswith(var.book_node_type, "db.")
    error_message = "book_node_type: must be a type of MemoryDB, such as db.r7g.large."
  }
}

variable "book_shards" {
  description = "How many shards MemoryDB has: models are spread over them."
  type        = number
  default     = 1

  validation {
    condition     = var.book_shards >= 1 && var.book_shards <= 100 && floor(var.book_shards) == var.book_shards
    error_message = "book_shards: must be a whole number from 1 to 100."
  }
}

variable "book_passwords" {
  description = "Passwords of the exchange at MemoryDB: the first is used, a second is still accepted while one is changed. In the state as well, which therefore has to be encrypted."
  type        = list(string)
  sensitive   = true

  validation {
    condition     = contains([1, 2], length(var.book_passwords)) && alltrue([for password in var.book_passwords : can(regex("^[A-Za-z0-9]{32,128}$", password))])
    error_message = "book_passwords: must be one or two, each 32 to 128 letters and digits, as `openssl rand -hex 32` makes them."
  }
}

variable "payments" {
  description = "Who takes and pays money: stripe, or none."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "stripe"], var.payments)
    error_message = "payments: must be none or stripe; local is for development, on one machine."
  }
}

variable "stripe_publishable_key" {
  description = "Stripe's publishable key, for the dashboard's payment form; no secret. Needed with payments = \"stripe\"."
  type        = string
  default     = ""

  validation {
    condition     = var.stripe_publishable_key == "" ? var.payments != "stripe" : can(regex("^pk_(live|test)_[A-Za-z0-9]{1,250}$", var.stripe_publishable_key))
    error_message = "stripe_publishable_key: must begin with pk_live_ or pk_test_, and must be there with payments = \"stripe\"."
  }
}

variable "settings" {
  description = "Further settings of the exchange, as `gollem config` names them: { \"market.fee_bps\" = \"400\" }. No secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.settings : can(regex("^[a-z]+\\.[a-z_]+$", key))])
    error_message = "settings: each must be named section.name, as `gollem config` lists them."
  }

  validation {
    condition = alltrue([for key, value in var.settings : !contains([
      "nodes.book", "storage.grant_keys", "payments.stripe_key", "payments.webhook_secrets", "payments.connect_secrets",
    ], key)])
    error_message = "settings: secrets come from Secrets Manager, never from here."
  }
}

variable "alarm_addresses" {
  description = "E-mail addresses that alarms go to; each has to confirm once."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_addresses : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_addresses: must be e-mail addresses."
  }
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365, 400, 731, 1827], var.log_days)
    error_message = "log_days: must be 7, 14, 30, 60, 90, 180, 365, 400, 731 or 1827, as CloudWatch has them."
  }
}

variable "protected" {
  description = "Whether the tables and the load balancer refuse to be deleted. Say false only to take everything down."
  type        = bool
  default     = true
}
