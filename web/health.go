package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// readyTimeout bounds the question whether the database answers.
const readyTimeout = 2 * time.Second

func (s *Server) routeHealth(e *echo.Echo) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, "/livez", s.recovered(s.live))
		e.Add(method, "/readyz", s.recovered(s.ready))
	}
}

// live says that the process answers.
func (s *Server) live(c echo.Context) error {
	return c.String(http.StatusOK, "alive\n")
}

// ready says whether requests should be sent here: the database answers with the right schema, and the server is not
// about to stop. Channels that are down are no reason to send requests elsewhere.
func (s *Server) ready(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	if s.draining.Load() {
		return writeProblem(c, http.StatusServiceUnavailable, "the server is about to stop", 0)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	if err := s.engine.Ready(ctx); err != nil {
		s.rare.sometimes(func(log *slog.Logger) { log.Warn("not ready", "error", err) })
		return writeProblem(c, http.StatusServiceUnavailable, "the database does not answer or has another schema; the server's log tells more", 0)
	}
	return c.String(http.StatusOK, "ready\n")
}
