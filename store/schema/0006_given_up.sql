ALTER TABLE delivery ADD COLUMN spent BIGINT NOT NULL DEFAULT 0;
UPDATE delivery SET due = COALESCE((SELECT MAX(a.at + a.took) FROM delivery_attempt a WHERE a.delivery = delivery.id), first) WHERE state IN ('dead', 'failed');
CREATE INDEX delivery_given_up ON delivery (due) WHERE state IN ('dead', 'failed');
