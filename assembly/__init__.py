"""What `build.py` is made of: the web client, sample data, the image and the deployment bundle.

Nothing here imports `cxg`: these modules run before, and beside, the package
they put together.
"""
