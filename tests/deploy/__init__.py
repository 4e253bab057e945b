"""What stands in `deploy/`: the image and the chart, held against what they are made for."""
