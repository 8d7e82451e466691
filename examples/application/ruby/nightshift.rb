# Nightshift for Ruby, mysql2 and Rack: enqueue jobs in your own transactions, and perform them in your application.
require "json"
require "mysql2"
require "openssl"
require "securerandom"

module Nightshift
  DUPLICATE = 1062

  # Raise it in a handler when the job can never succeed: the job is dead, with this message as the reason.
  class Refused < StandardError; end

  # Raise it in a handler when the job cannot be done yet: it comes again after so many seconds.
  class NotYet < StandardError
    attr_reader :seconds

    def initialize(message, seconds)
      super(message)
      @seconds = seconds
    end
  end

  # Inserts a job in the connection's transaction, due now or at a Time, and returns its id.
  def self.enqueue(connection, type, data, id: SecureRandom.uuid, run_at: nil)
    due = run_at ? (run_at.to_r * 1000).to_i : 0
    run(connection, <<~SQL, id, type, data.to_json, (Time.now.to_r * 1000).to_i, due, due)
      INSERT INTO jobs (id, type, data, status, created_at, due_at, dispatch_at) VALUES (?, ?, ?, 'pending', ?, ?, ?)
    SQL
    id
  end

  # Starts a job at once. Call it after the commit; if it fails, the job starts within a minute.
  def self.start(sqs, queue_url, id)
    sqs.send_message(queue_url: queue_url, message_body: { id: id }.to_json)
  rescue Aws::Errors::ServiceError, Seahorse::Client::NetworkingError => error
    warn "job #{id} starts within a minute, not at once: #{error.message}"
  end

  # Returns whether Nightshift signed the request, with one of the secrets, in the last five minutes.
  def self.signed?(secrets, env, body)
    id, timestamp, given = env.values_at("HTTP_WEBHOOK_ID", "HTTP_WEBHOOK_TIMESTAMP", "HTTP_WEBHOOK_SIGNATURE")
    return false unless id && given && (Time.now.to_i - timestamp.to_i).abs <= 300

    secrets.any? do |secret|
      key = secret.delete_prefix("whsec_").unpack1("m")
      expected = "v1," + [OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{timestamp}.#{body}")].pack("m0")
      given.split.any? { |signature| OpenSSL.secure_compare(signature, expected) }
    end
  end

  # Performs the job of a Rack request once. The block opens a connection, which is closed after the job.
  def self.perform(secrets, handlers, env)
    body = env["rack.input"].read
    return [401, {}, ["the signature or the timestamp is wrong"]] unless signed?(secrets, env, body)

    job = JSON.parse(body)
    handler = handlers[job["type"]]
    # Not 400, which would end the job: a newer release may know the type.
    return [404, {}, ["no handler of #{job["type"]}"]] unless handler

    begin connection = yield
    rescue Mysql2::Error => error
      # Without Retry-After: Nightshift then holds back all jobs until the application is back.
      return [503, {}, [error.message]]
    end
    begin
      # Without a COMMIT, closing the connection takes everything back.
      connection.query("BEGIN")
      result = perform_once(connection, handler, job)
      connection.query("COMMIT")
      [200, { "content-type" => "application/json" }, [result]]
    rescue Refused => error
      [422, {}, [error.message]]
    rescue NotYet => error
      [503, { "retry-after" => error.seconds.to_s }, [error.message]]
    rescue StandardError => error
      warn error.full_message
      [500, {}, [error.message]]
    ensure
      connection.close
    end
  end

  def self.perform_once(connection, handler, job)
    begin
      # A second call for the same job waits here until the first has ended.
      run(connection, "INSERT INTO performed_jobs (id) VALUES (?)", job["id"])
    rescue Mysql2::Error => error
      raise unless error.error_number == DUPLICATE
      return run(connection, "SELECT result FROM performed_jobs WHERE id = ?", job["id"]).first["result"]
    end
    result = handler.call(job, connection).to_json
    run(connection, "UPDATE performed_jobs SET result = ? WHERE id = ?", result, job["id"])
    result
  end

  def self.run(connection, sql, *values) = connection.prepare(sql).execute(*values)
  private_class_method :perform_once, :run
end
