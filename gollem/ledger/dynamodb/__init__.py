"""The ledger on DynamoDB: one table, many machines. Only `client` imports the vendor; whoever opens it imports `ledger`.

`items` is the layout, `changes` and `plan` compile transactions to one request, `client` calls, `lanes` and `writer`
decide what goes together and what an answer means, `reads` and `proof` ask, `table` makes the table.
"""
