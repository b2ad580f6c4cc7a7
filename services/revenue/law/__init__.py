"""Law: rulebooks as dated data, compiled into columns, and what consignments owe by them.

Imports lead in one direction: `text` > `assess` > `program` > `source` > `batch`. Each package may import all that follow it.

    batch     columns of one batch, whatever the law says
    source    law files: read, checked, values replaced
    program   the compiled law, and what was decided by it
    assess    what a batch owes
    text      assessments as answers and as explanations
"""
