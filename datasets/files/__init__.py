"""Reading what people distribute: archives, downloads, image files, and how folders are named. Knows no data set."""
