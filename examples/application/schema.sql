-- The shop's own tables, in the database that has Nightshift's.
CREATE TABLE stock (item VARCHAR(64) PRIMARY KEY, pieces INT NOT NULL, CHECK (pieces >= 0));
CREATE TABLE orders (
  id INT AUTO_INCREMENT PRIMARY KEY,
  item VARCHAR(64) NOT NULL,
  is_paid BOOLEAN NOT NULL
);
CREATE TABLE invoices (
  id INT AUTO_INCREMENT PRIMARY KEY,
  order_id INT NOT NULL UNIQUE
);

-- The jobs that are done, so that each is done once.
CREATE TABLE performed_jobs (
  id VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
  result LONGTEXT,
  performed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
