"""The ledger on DynamoDB: one table, many machines. Only `client` imports the vendor.

`items` is the layout, `changes` and `plan` compile transactions to one request, `client` calls, `writer` decides what
goes together and what an answer means, `pace` gives all machines one time, `reads` ask, `proof` audits by what `looks`
compare, `table` makes the table, `rebuild` fills one from an export. Whoever opens it imports `ledger`.
"""
