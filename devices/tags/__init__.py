"""Tags: what a name may be (`names`), and how devices get and lose them (`tagging`)."""
