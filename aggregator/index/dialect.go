package index

import "github.com/nephoscope/nepho/aggregator/database"

// What the databases differ in beyond package database. All else is one code path.

// uuidPlace and textPlace are placeholders of values whose type PostgreSQL can't tell.
func uuidPlace(s *database.Session) string { return place(s, "uuid") }

func textPlace(s *database.Session) string { return place(s, "text") }

func place(s *database.Session, kind string) string {
	if s.Shared() {
		return "?::" + kind
	}
	return "?"
}

// like is the operator that compares with a pattern, and its operand. SQLite's LIKE
// takes no notice of case.
func (p likePattern) like(s *database.Session) (operator, operand string) {
	if s.Shared() {
		return "LIKE", p.sql()
	}
	return "GLOB", p.glob()
}

// reservations are statements that raise the last given metric.ref to their argument.
func reservations(s *database.Session) []string {
	if s.Shared() {
		return []string{"SELECT setval(s, greatest(?::bigint, nextval(s))) FROM pg_get_serial_sequence('metric', 'ref') AS s"}
	}
	return []string{
		"INSERT INTO sqlite_sequence (name, seq) SELECT 'metric', ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'metric')",
		"UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'metric'",
	}
}

// again reports whether a type lost a column or its tables meanwhile, or gained one:
// a statement that was made for what it was fails in PostgreSQL.
func again(err error) bool {
	switch database.Code(err) {
	case "42703", "42P01", "0A000":
		return true
	}
	return false
}
