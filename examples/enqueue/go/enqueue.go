// Puts jobs on Nightshift's queue: `go run . one`, or `go run . < messages.jsonl`.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const example = `{
	"type": "send_email",
	"data": {"to": "reader@example.com", "subject": "Welcome", "text": "Hello"},
	"idempotency_key": "welcome-42",
	"source": "shop"
}`

func main() {
	log.SetFlags(0)
	ctx, queue := context.Background(), aws.String(os.Getenv("WORK_QUEUE_URL"))
	client := sqs.NewFromConfig(must(config.LoadDefaultConfig(ctx)))
	if len(os.Args) > 1 && os.Args[1] == "one" {
		must(client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue, MessageBody: aws.String(example)}))
		return
	}

	var left []types.SendMessageBatchRequestEntry
	for number, line := range strings.Split(string(must(io.ReadAll(os.Stdin))), "\n") {
		if strings.TrimSpace(line) != "" {
			id := aws.String(strconv.Itoa(number))
			left = append(left, types.SendMessageBatchRequestEntry{Id: id, MessageBody: aws.String(line)})
		}
	}
	total := len(left)
	for _, pause := range []time.Duration{0, 200, 400, 800} {
		time.Sleep(pause * time.Millisecond)
		failed := map[string]bool{}
		for rest := left; len(rest) > 0; {
			batch := rest[:fitting(rest)]
			rest = rest[len(batch):]
			answer := must(client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: queue, Entries: batch}))
			// An answer of 200 may carry failures.
			for _, failure := range answer.Failed {
				failed[*failure.Id] = true
			}
		}
		left = slices.DeleteFunc(left, func(entry types.SendMessageBatchRequestEntry) bool { return !failed[*entry.Id] })
		if len(left) == 0 {
			return
		}
	}
	log.Fatalf("Not on the queue after 4 attempts: %d of %d messages.", len(left), total)
}

// fitting counts the first entries that fit into one call: ten, 256 KiB together.
func fitting(entries []types.SendMessageBatchRequestEntry) int {
	size := 0
	for count, entry := range entries {
		size += len(*entry.MessageBody)
		if count == 10 || count > 0 && size > 256*1024 {
			return count
		}
	}
	return len(entries)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
