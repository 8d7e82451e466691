package nightshift

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"strconv"

	"github.com/go-sql-driver/mysql"
)

const duplicate = 1062

// Job is what a handler gets.
type Job struct {
	ID, Type string
	Data     json.RawMessage
	Attempt  int
}

// Handler performs a job in a transaction, and returns its result.
type Handler func(ctx context.Context, tx *sql.Tx, job Job) (any, error)

// Refused is the error of a job that can never succeed: the job is dead, with this as the reason.
type Refused string

// NotYet is the error of a job that cannot be done yet: it comes again after so many seconds.
type NotYet struct {
	Reason  string
	Seconds int
}

func (refused Refused) Error() string { return string(refused) }
func (notYet NotYet) Error() string   { return notYet.Reason }

// Jobs returns a handler that performs the jobs that Nightshift sends, each once.
func Jobs(db *sql.DB, secrets []string, handlers map[string]Handler) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		var job Job
		body, err := io.ReadAll(request.Body)
		if err != nil || !IsSigned(secrets, request.Header, body) || json.Unmarshal(body, &job) != nil {
			http.Error(response, "the signature or the timestamp is wrong", http.StatusUnauthorized)
			return
		}
		handler, ok := handlers[job.Type]
		if !ok {
			// Not 400, which would end the job: a newer release may know the type.
			http.Error(response, "no handler of "+job.Type, http.StatusNotFound)
			return
		}
		tx, err := db.BeginTx(request.Context(), nil)
		if err != nil {
			// Without Retry-After: Nightshift then holds back all jobs until the application is back.
			http.Error(response, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer tx.Rollback() // does nothing after the commit
		result, err := performOnce(request.Context(), tx, handler, job)
		var refused Refused
		var notYet NotYet
		switch {
		case err == nil:
			response.Header().Set("content-type", "application/json")
			response.Write(result)
		case errors.As(err, &refused):
			http.Error(response, err.Error(), http.StatusUnprocessableEntity)
		case errors.As(err, &notYet):
			response.Header().Set("retry-after", strconv.Itoa(notYet.Seconds))
			http.Error(response, err.Error(), http.StatusServiceUnavailable)
		default:
			log.Printf("job %s failed: %v", job.ID, err)
			http.Error(response, err.Error(), http.StatusInternalServerError)
		}
	}
}

func performOnce(ctx context.Context, tx *sql.Tx, handler Handler, job Job) (result []byte, err error) {
	// A second call for the same job waits here until the first has ended.
	_, err = tx.ExecContext(ctx, "INSERT INTO performed_jobs (id) VALUES (?)", job.ID)
	var refused *mysql.MySQLError
	if errors.As(err, &refused) && refused.Number == duplicate {
		err = tx.QueryRowContext(ctx, "SELECT result FROM performed_jobs WHERE id = ?", job.ID).Scan(&result)
		return result, err
	}
	if err != nil {
		return nil, err
	}
	answer, err := handler(ctx, tx, job)
	if err != nil {
		return nil, err
	}
	if result, err = json.Marshal(answer); err != nil {
		return nil, err
	}
	if _, err = tx.ExecContext(ctx, "UPDATE performed_jobs SET result = ? WHERE id = ?", result, job.ID); err != nil {
		return nil, err
	}
	return result, tx.Commit()
}
