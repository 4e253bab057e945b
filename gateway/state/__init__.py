"""What Redis holds: records, the work queue, notes, dead letters, and the scripts that change them atomically.

Only this package imports the redis library; its errors leave as `StoreRefused` or `StoreUnsure`. Decisions about
counting belong to `engine`; decisions that need Redis's atomicity are in the `.lua` files, each of which says what it
takes, what it answers and why it may run late or twice.
"""
