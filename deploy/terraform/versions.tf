# What this is written for. OpenTofu reads it as Terraform does.
terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.47, < 7.0" # key_schema of an index; with 6.47 it was validated
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { Service = var.name }
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}
