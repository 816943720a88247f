"""What browsers are given as it is: static pages without a server behind them.

`/verify` checks a case bundle like `pumasi.ledger.verify`, in the reader's browser: same steps, same sentences, no request. Whoever
serves it could change it; the page says so, and runs from a folder on disk as well.
"""
