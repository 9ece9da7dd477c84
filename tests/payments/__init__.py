"""Tests of dollars in and dollars out."""
