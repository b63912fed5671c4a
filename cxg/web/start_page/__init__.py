"""The page that lists the datasets: its entries, its pictures, its rendering."""
