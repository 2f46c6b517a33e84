"""Changes what an author has written: every verb makes `Changes` of a `Library`, which `changes.apply` writes."""
