package index

const childEnv = "NEPHO_INDEX_TEST_CHILD"
