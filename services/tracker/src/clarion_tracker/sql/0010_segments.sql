-- A message that was handed over twice has two ids for each segment: a phone puts together what arrives, whichever try it
-- came with. An empty key stands for a segment that a carrier did not take.
ALTER TABLE tracking.segment DROP CONSTRAINT segment_pkey, ADD PRIMARY KEY (delivery_id, position, receipt_key);
