"""The ledger on DynamoDB: one table, many machines. Only `client` imports the vendor.

`items` is the layout, `changes` and `plan` compile transactions to one request, `client` calls, `writer` decides what
goes together and what an answer means, `reads` and `proof` ask, `table` makes the table. Whoever opens it imports
`ledger`.
"""
