"""What a run measures, part by part. Each gives a document of figures and a proof for every stretch it sent."""
