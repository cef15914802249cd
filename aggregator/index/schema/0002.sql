-- The stores of measures whose metrics the index describes, by their ids.
CREATE TABLE store (
  id {text} PRIMARY KEY
){strict};
