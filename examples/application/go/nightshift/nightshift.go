// Package nightshift enqueues jobs in your own transactions, and performs them in your application.
package nightshift

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Enqueue inserts a job in the transaction, due at a time, or now if that is zero.
func Enqueue(ctx context.Context, tx *sql.Tx, id, jobType string, data any, runAt time.Time) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var due int64
	if !runAt.IsZero() {
		due = runAt.UnixMilli()
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO jobs (id, type, data, status, created_at, due_at, dispatch_at)"+
		" VALUES (?, ?, ?, 'pending', ?, ?, ?)", id, jobType, string(text), time.Now().UnixMilli(), due, due)
	return err
}

// Start starts a job at once. Call it after the commit; if it fails, the job starts within a minute.
func Start(ctx context.Context, client *sqs.Client, queueURL, id string) {
	body := fmt.Sprintf(`{"id": %q}`, id)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: &body}); err != nil {
		log.Printf("job %s starts within a minute, not at once: %v", id, err)
	}
}

// IsSigned reports whether Nightshift signed the request, with one of the secrets, in the last five minutes.
func IsSigned(secrets []string, header http.Header, body []byte) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			continue
		}
		digest := hmac.New(sha256.New, key)
		fmt.Fprintf(digest, "%s.%s.%s", id, timestamp, body)
		expected := "v1," + base64.StdEncoding.EncodeToString(digest.Sum(nil))
		for _, given := range strings.Fields(header.Get("webhook-signature")) {
			if hmac.Equal([]byte(given), []byte(expected)) {
				return true
			}
		}
	}
	return false
}
