# A shop that sends each order's invoice in the background: `bundle install`, `puma`.
require "aws-sdk-sqs"
require "uri"
require_relative "nightshift"

DATABASE = URI(ENV.fetch("APP_DATABASE_URL"))
SQS = Aws::SQS::Client.new(http_open_timeout: 2, http_read_timeout: 2, retry_limit: 0)

def connect
  user, password = DATABASE.userinfo.split(":", 2).map { |part| URI.decode_www_form_component(part) }
  Mysql2::Client.new(
    host: DATABASE.host, port: DATABASE.port || 3306, username: user, password: password, database: DATABASE.path[1..]
  )
end

def orders(env)
  order = JSON.parse(env["rack.input"].read)
  connection = connect
  connection.query("BEGIN")
  connection.prepare("INSERT INTO orders (item, is_paid) VALUES (?, ?)").execute(order["item"], order["is_paid"])
  id = connection.last_id
  job = Nightshift.enqueue(connection, "send_invoice", { order: id })
  connection.prepare("UPDATE stock SET pieces = pieces - 1 WHERE item = ?").execute(order["item"])
  connection.query("COMMIT")
  Nightshift.start(SQS, ENV.fetch("WORK_QUEUE_URL"), job)
  [201, { "content-type" => "application/json" }, [{ order: id, job: job }.to_json]]
rescue Mysql2::Error => error
  [409, {}, [error.message]]
ensure
  # Without the COMMIT, this takes everything back.
  connection&.close
end

def send_invoice(job, connection)
  order = job["data"]["order"]
  found = connection.prepare("SELECT is_paid FROM orders WHERE id = ?").execute(order).first
  raise Nightshift::Refused, "there is no order #{order}" unless found
  raise Nightshift::NotYet.new("order #{order} is not paid", 60) if found["is_paid"].zero?

  connection.prepare("INSERT INTO invoices (order_id) VALUES (?)").execute(order)
  { invoice: connection.last_id }
end

def jobs(env)
  secrets = ENV.fetch("APP_JOBS_SECRETS").split(",")
  Nightshift.perform(secrets, { "send_invoice" => method(:send_invoice) }, env) { connect }
end

ROUTES = { "POST /orders" => method(:orders), "POST /jobs" => method(:jobs) }.freeze
run ->(env) { ROUTES.fetch("#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}", ->(_) { [404, {}, []] }).call(env) }
