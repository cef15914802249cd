package api

// measureRoutes adds the routes of measures, aggregates and what else has points.
func (s *Server) measureRoutes() {}
