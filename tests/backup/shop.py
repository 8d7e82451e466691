"""A video shop in the manner of the sakila database: its tables, rows, views and programs."""

from tests.servers import series

TABLES = [
    "CREATE TABLE country (id SMALLINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, country VARCHAR(50) NOT NULL,"
    " changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    "CREATE TABLE city (id SMALLINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, city VARCHAR(50) NOT NULL,"
    " country_id SMALLINT UNSIGNED NOT NULL, KEY (country_id),"
    " CONSTRAINT fk_city_country FOREIGN KEY (country_id) REFERENCES country (id) ON UPDATE CASCADE)",
    "CREATE TABLE address (id SMALLINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, address VARCHAR(50) NOT NULL,"
    " address2 VARCHAR(50), city_id SMALLINT UNSIGNED NOT NULL, location GEOMETRY NOT NULL, SPATIAL KEY (location),"
    " CONSTRAINT fk_address_city FOREIGN KEY (city_id) REFERENCES city (id))",
    # A shop has a manager, who works in a shop.
    "CREATE TABLE shop (id TINYINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, manager_id TINYINT UNSIGNED NOT NULL UNIQUE,"
    " address_id SMALLINT UNSIGNED NOT NULL, CONSTRAINT fk_shop_staff FOREIGN KEY (manager_id) REFERENCES staff (id),"
    " CONSTRAINT fk_shop_address FOREIGN KEY (address_id) REFERENCES address (id))",
    "CREATE TABLE staff (id TINYINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(45) NOT NULL, picture BLOB,"
    " shop_id TINYINT UNSIGNED NOT NULL, boss_id TINYINT UNSIGNED,"
    " CONSTRAINT fk_staff_shop FOREIGN KEY (shop_id) REFERENCES shop (id),"
    " CONSTRAINT fk_staff_boss FOREIGN KEY (boss_id) REFERENCES staff (id) ON DELETE SET NULL)",
    "CREATE TABLE film (id SMALLINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, title VARCHAR(128) NOT NULL, description TEXT,"
    " release_year YEAR, rate DECIMAL(4,2) NOT NULL DEFAULT 4.99, length SMALLINT UNSIGNED,"
    " rating ENUM('G','PG','PG-13','R','NC-17') DEFAULT 'G',"
    " features SET('Trailers','Commentaries','Deleted Scenes','Behind the Scenes'),"
    " hours DECIMAL(6,2) AS (length / 60) VIRTUAL, title_length INT AS (CHAR_LENGTH(title)) STORED,"
    " KEY (title), FULLTEXT KEY (title, description), CHECK (length > 0))",
    "CREATE TABLE film_actor (actor_id SMALLINT UNSIGNED NOT NULL, film_id SMALLINT UNSIGNED NOT NULL,"
    " PRIMARY KEY (actor_id, film_id), CONSTRAINT fk_film FOREIGN KEY (film_id) REFERENCES film (id) ON DELETE"
    " CASCADE)",
    "CREATE TABLE rental (id INT PRIMARY KEY AUTO_INCREMENT, film_id SMALLINT UNSIGNED NOT NULL, rented DATETIME"
    " NOT NULL,"
    " returned DATETIME, staff_id TINYINT UNSIGNED NOT NULL, UNIQUE KEY (rented, film_id, id),"
    " CONSTRAINT fk_rental_film FOREIGN KEY (film_id) REFERENCES film (id))",
    "CREATE TABLE payment (id INT PRIMARY KEY AUTO_INCREMENT, rental_id INT, amount DECIMAL(5,2) NOT NULL,"
    " CONSTRAINT fk_payment FOREIGN KEY (rental_id) REFERENCES rental (id) ON DELETE SET NULL)",
    "CREATE TABLE film_text (film_id SMALLINT PRIMARY KEY, title VARCHAR(255) NOT NULL, description TEXT)",
    "CREATE TABLE audit (at DATETIME NOT NULL, what VARCHAR(200))",
]

ROWS = [
    f"INSERT INTO country (id, country) SELECT seq, CONCAT('Country ', seq) FROM {series(109)}",
    f"INSERT INTO city (id, city, country_id) SELECT seq, CONCAT('City of ', seq), 1 + seq % 109 FROM {series(600)}",
    "INSERT INTO address SELECT seq, CONCAT(seq, ' Main Street'), IF(seq % 3, NULL, ''), 1 + seq % 600,"
    f" POINT(seq / 7, -seq) FROM {series(603)}",
    "INSERT INTO shop VALUES (1, 1, 1), (2, 2, 2)",
    "INSERT INTO staff VALUES (1, 'Mike', X'89504E470D0A1A0A00FF27', 1, NULL), (2, 'Jon', NULL, 2, 1), (3, 'Bo',"
    " '', 2, 3)",
    "INSERT INTO film (id, title, description, release_year, rate, length, rating, features)"
    " SELECT seq, CONCAT('FILM ', seq), REPEAT(CONCAT('A tale of ', SHA2(seq, 256), '\\r\\n'), seq % 5),"
    f" 2006 - seq % 50, seq % 100 / 7, 46 + seq % 140, 1 + seq % 5, seq % 16 FROM {series(1000)}",
    f"INSERT INTO film_actor SELECT 1 + seq % 200, 1 + seq * 7 % 1000 FROM {series(1000)}",
    "INSERT INTO rental SELECT seq, 1 + seq * 31 % 1000, '2005-05-24' + INTERVAL seq * 97 SECOND,"
    f" IF(seq % 9, '2005-06-01' + INTERVAL seq MINUTE, NULL), 1 + seq % 3 FROM {series(4000)}",
    f"INSERT INTO payment SELECT seq, IF(seq % 50, seq, NULL), seq % 1000 / 100 FROM {series(4000)}",
    "INSERT INTO film_text SELECT id, title, description FROM film",
    "DELETE FROM rental WHERE id > 3990",
]

PROGRAMS = [
    "CREATE FUNCTION in_stock (film INT) RETURNS TINYINT(1) READS SQL DATA"
    " BEGIN DECLARE out_now INT; SELECT COUNT(*) INTO out_now FROM rental WHERE film_id = film AND returned IS NULL;"
    " RETURN out_now = 0; END",
    "CREATE DEFINER=`nobody`@`%.example.com` PROCEDURE films_in_stock (IN minimum INT, OUT found INT) SQL"
    " SECURITY INVOKER"
    " COMMENT 'it''s; $$ a comment' READS SQL DATA\nBEGIN\n"
    "  SELECT COUNT(*) INTO found FROM film WHERE id >= minimum AND in_stock(id);\nEND",
    "CREATE VIEW film_list AS SELECT f.id, f.title, f.rating, COUNT(a.actor_id) AS actors, in_stock(f.id) AS `in stock`"
    " FROM film f LEFT JOIN film_actor a ON a.film_id = f.id GROUP BY f.id",
    # By name it comes before what it selects from.
    "CREATE VIEW a_nicer_list AS SELECT CONCAT(title, ': ', actors, ' `x`.`y`(') AS line FROM film_list WHERE"
    " actors > 1",
    "CREATE ALGORITHM=MERGE DEFINER=`nobody`@`localhost` SQL SECURITY INVOKER VIEW cheap AS"
    " SELECT id, title, rate FROM film WHERE rate < 5 WITH CASCADED CHECK OPTION",
    "CREATE TRIGGER film_inserted AFTER INSERT ON film FOR EACH ROW BEGIN"
    " INSERT INTO film_text VALUES (NEW.id, NEW.title, NEW.description); END",
    "CREATE TRIGGER film_deleted AFTER DELETE ON film FOR EACH ROW DELETE FROM film_text WHERE film_id = OLD.id",
    "CREATE TRIGGER z_first BEFORE UPDATE ON film FOR EACH ROW SET NEW.title = CONCAT(NEW.title, ';')",
    "CREATE TRIGGER y_second BEFORE UPDATE ON film FOR EACH ROW SET NEW.title = TRIM(NEW.title)",
    "CREATE TRIGGER a_third BEFORE UPDATE ON film FOR EACH ROW FOLLOWS z_first SET NEW.length = OLD.length",
    "CREATE TRIGGER x_before_all BEFORE UPDATE ON film FOR EACH ROW PRECEDES z_first SET @changed = 1",
    "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' ON COMPLETION PRESERVE DISABLE"
    " COMMENT 'it''s;' DO BEGIN DELETE FROM audit WHERE at < NOW() - INTERVAL 1 YEAR; END",
]
