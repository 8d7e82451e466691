# What the shop in Ruby uses of the gem aws-sdk-sqs, which Debian does not have: calls by Net::HTTP, not signed.
require "json"
require "net/http"

module Seahorse
  module Client
    class NetworkingError < StandardError; end
  end
end

module Aws
  module Errors
    class ServiceError < StandardError; end
  end

  module SQS
    class Client
      HEADERS = {
        "content-type" => "application/x-amz-json-1.0",
        "x-amz-target" => "AmazonSQS.SendMessage",
        "authorization" => "AWS4-HMAC-SHA256 Credential=local/20160101/us-east-1/sqs/aws4_request",
      }.freeze

      def initialize(**_options); end

      def send_message(queue_url:, message_body:)
        body = { QueueUrl: queue_url, MessageBody: message_body }.to_json
        answer = Net::HTTP.post(URI.join(queue_url, "/"), body, HEADERS)
        raise Aws::Errors::ServiceError, answer.body unless answer.is_a?(Net::HTTPSuccess)
      rescue SystemCallError => error
        raise Seahorse::Client::NetworkingError, error.message
      end
    end
  end
end
