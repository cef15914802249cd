package store

const childEnv = "NEPHO_EVENTS_TEST_CHILD"
