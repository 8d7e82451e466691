// A shop that sends each order's invoice in the background: `go mod tidy`, `go run .`.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-sql-driver/mysql"

	"shop/nightshift"
)

type order struct {
	Item   string `json:"item"`
	IsPaid bool   `json:"is_paid"`
}

type placed struct {
	Order int64  `json:"order"`
	Job   string `json:"job"`
}

func main() {
	aws, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	db, client := open(os.Getenv("APP_DATABASE_URL")), sqs.NewFromConfig(aws)
	secrets := strings.Split(os.Getenv("APP_JOBS_SECRETS"), ",")
	handlers := map[string]nightshift.Handler{"send_invoice": sendInvoice}

	http.HandleFunc("/orders", func(response http.ResponseWriter, request *http.Request) {
		var wanted order
		if err := json.NewDecoder(request.Body).Decode(&wanted); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		placed, err := place(request.Context(), db, wanted)
		if err != nil {
			http.Error(response, err.Error(), http.StatusConflict)
			return
		}
		nightshift.Start(request.Context(), client, os.Getenv("WORK_QUEUE_URL"), placed.Job)
		response.Header().Set("content-type", "application/json")
		response.WriteHeader(http.StatusCreated)
		json.NewEncoder(response).Encode(placed)
	})
	http.Handle("/jobs", nightshift.Jobs(db, secrets, handlers))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

func open(address string) *sql.DB {
	given, err := url.Parse(address)
	if err != nil {
		log.Fatal(err)
	}
	settings := mysql.NewConfig()
	settings.Net, settings.Addr, settings.DBName = "tcp", given.Host, strings.TrimPrefix(given.Path, "/")
	settings.User = given.User.Username()
	settings.Passwd, _ = given.User.Password()
	db, err := sql.Open("mysql", settings.FormatDSN())
	if err != nil {
		log.Fatal(err)
	}
	return db
}

func place(ctx context.Context, db *sql.DB, wanted order) (placed, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return placed{}, err
	}
	defer tx.Rollback() // does nothing after the commit
	inserted, err := tx.ExecContext(ctx, "INSERT INTO orders (item, is_paid) VALUES (?, ?)", wanted.Item, wanted.IsPaid)
	if err != nil {
		return placed{}, err
	}
	id, err := inserted.LastInsertId()
	if err != nil {
		return placed{}, err
	}
	job := newID()
	if err := nightshift.Enqueue(ctx, tx, job, "send_invoice", map[string]int64{"order": id}, time.Time{}); err != nil {
		return placed{}, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE stock SET pieces = pieces - 1 WHERE item = ?", wanted.Item); err != nil {
		return placed{}, err
	}
	return placed{Order: id, Job: job}, tx.Commit()
}

func newID() string {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("%x", random)
}

func sendInvoice(ctx context.Context, tx *sql.Tx, job nightshift.Job) (any, error) {
	var data struct{ Order int64 }
	if err := json.Unmarshal(job.Data, &data); err != nil {
		return nil, nightshift.Refused(err.Error())
	}
	var isPaid bool
	err := tx.QueryRowContext(ctx, "SELECT is_paid FROM orders WHERE id = ?", data.Order).Scan(&isPaid)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nightshift.Refused(fmt.Sprintf("there is no order %d", data.Order))
	}
	if err != nil {
		return nil, err
	}
	if !isPaid {
		return nil, nightshift.NotYet{Reason: fmt.Sprintf("order %d is not paid", data.Order), Seconds: 60}
	}
	inserted, err := tx.ExecContext(ctx, "INSERT INTO invoices (order_id) VALUES (?)", data.Order)
	if err != nil {
		return nil, err
	}
	invoice, err := inserted.LastInsertId()
	return map[string]int64{"invoice": invoice}, err
}
