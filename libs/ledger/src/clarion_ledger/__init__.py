"""The system of record: schema, migrations, accept, plan, claim, record, audit."""
