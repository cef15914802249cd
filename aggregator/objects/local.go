package objects

// Local is the store in a folder, which is made when it is not there. Slashes in names
// are folders in it.
func Local(dir string) (Store, error) { return nil, errNotYet }
