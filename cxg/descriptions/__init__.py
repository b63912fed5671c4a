"""What people say of a dataset: `<name>.yaml` beside `<name>.cxg`, and what a data portal wrote into the CXG.

============  ============================================================
`model`       the parts of a description, and which of several wins
`keys`        every key of the file: its kind, its meaning, an example
`kinds`       the values that a key takes, and the sentence for a wrong one
`reader`      the file's text -> a description, with the line of each fault
`portal`      what the CXG itself says
`beside`      the files of one dataset as they are now
`store`       the descriptions of a dataroot, read again when they change
`markdown`    the text as safe HTML, and as plain text
`template`    the commented file that `cxg describe` writes
============  ============================================================

A fault costs the key that it is in; one in `visible_to` or `public_from` hides the dataset.
No answer with data depends on a description.
"""
