"""How Alembic reaches the database: by the connection, and inside the transaction, that `schema.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
