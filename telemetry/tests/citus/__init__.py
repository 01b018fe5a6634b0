"""Tests of a database that is distributed over the nodes of a Citus cluster (`make test-citus`)."""
