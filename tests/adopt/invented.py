"""Applications that no framework made: odd names, odd types, and choices in odd places."""

# As Rails would make it: numbers of an enum, soft deletion, a newsletter's flag, DATETIMEs with microseconds.
MAGAZINE = """
CREATE TABLE schema_migrations (version VARCHAR(255) NOT NULL PRIMARY KEY);
CREATE TABLE members (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255) NOT NULL,
    encrypted_password VARCHAR(255) NOT NULL,
    first_name VARCHAR(100) NULL, last_name VARCHAR(100) NULL, confirmed_at DATETIME(6) NULL,
    newsletter TINYINT(1) NOT NULL DEFAULT 0, admin TINYINT(1) NOT NULL DEFAULT 0, banned_at DATETIME(6) NULL,
    deleted_at DATETIME(6) NULL, created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL,
    UNIQUE KEY index_members_on_email (email)
);
CREATE TABLE articles (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, title VARCHAR(255) NOT NULL, slug VARCHAR(255) NOT NULL,
    body MEDIUMTEXT, member_id BIGINT NOT NULL, views_count INT NOT NULL DEFAULT 0, likes_count INT NOT NULL DEFAULT 0,
    published_at DATETIME(6) NULL, deleted_at DATETIME(6) NULL, created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL, KEY index_articles_on_published_at (published_at),
    FOREIGN KEY (member_id) REFERENCES members (id)
);
CREATE TABLE article_revisions (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, article_id BIGINT NOT NULL, title VARCHAR(255), body MEDIUMTEXT,
    created_at DATETIME(6) NOT NULL
);
CREATE TABLE login_sessions (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, member_id BIGINT NOT NULL, token CHAR(64) NOT NULL,
    last_seen_at DATETIME(6) NOT NULL, expires_at DATETIME(6) NOT NULL, created_at DATETIME(6) NOT NULL,
    FOREIGN KEY (member_id) REFERENCES members (id)
);
INSERT INTO members
    (id, email, encrypted_password, first_name, last_name, confirmed_at, newsletter, admin, banned_at, deleted_at,
    created_at, updated_at) VALUES
    (1, 'ann@example.com', '', 'Ann', 'A', '2016-01-01', 1, 1, NULL, NULL, '2016-07-01', '2016-07-01'),
    (2, 'bob@example.com', '', 'Bob', 'B', '2016-01-01', 0, 0, NULL, NULL, '2016-07-01', '2016-07-01'),
    (3, 'cy@example.com', '', 'Cy', 'C', NULL, 1, 0, NULL, NULL, '2016-07-01', '2016-07-01'),
    (4, 'di@example.com', '', 'Di', 'D', '2016-01-01', 1, 0, '2016-07-02', NULL, '2016-07-01', '2016-07-01'),
    (5, 'ed@example.com', '', 'Ed', 'E', '2016-01-01', 1, 1, NULL, '2016-07-02', '2016-07-01', '2016-07-01');
INSERT INTO articles (title, slug, member_id, published_at, deleted_at, created_at, updated_at) VALUES
    ('Hello', 'hello', 1, '2016-08-03 00:00:00', NULL, '2016-07-01', '2016-07-01'),
    ('World', 'world', 5, '2016-08-03 23:59:59.999999', NULL, '2016-07-01', '2016-07-01'),
    ('Draft', 'draft', 1, NULL, NULL, '2016-08-03 12:00:00', '2016-07-01'),
    ('Gone', 'gone', 1, '2016-08-03 12:00:00', '2016-08-03 13:00:00', '2016-07-01', '2016-07-01');
INSERT INTO article_revisions (article_id, title, created_at) VALUES (1, 'Helo', '2016-08-03 12:00:00');
INSERT INTO login_sessions (member_id, token, last_seen_at, expires_at, created_at) VALUES
    (1, 'a', '2016-08-03 10:00:00', '2016-09-03 10:00:00', '2016-08-01'),
    (2, 'b', '2016-08-02 10:00:00', '2016-08-04 01:59:59', '2016-08-01');
"""

# As TypeORM would: camel case, UUIDs as text, an ENUM, reserved words as names, the choice in JSON.
CAMELS = """
CREATE TABLE `user` (
    id CHAR(36) NOT NULL PRIMARY KEY, email VARCHAR(191) NOT NULL, fullName VARCHAR(191) NULL,
    emailVerified DATETIME(3) NULL, `role` ENUM('USER', 'ADMIN') NOT NULL DEFAULT 'USER', passwordHash VARCHAR(191),
    settings JSON NULL, createdAt DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), updatedAt DATETIME(3) NOT NULL,
    UNIQUE KEY user_email_key (email)
);
CREATE TABLE `order` (id CHAR(36) NOT NULL PRIMARY KEY, `userId` CHAR(36) NOT NULL, `group` INT, `key` INT);
CREATE TABLE blogEntries (
    id CHAR(26) NOT NULL PRIMARY KEY, headline VARCHAR(191) NOT NULL, content TEXT, authorId CHAR(36) NOT NULL,
    status ENUM('DRAFT', 'PUBLISHED', 'ARCHIVED') NOT NULL DEFAULT 'DRAFT', viewCount INT NOT NULL DEFAULT 0,
    commentCount INT NOT NULL DEFAULT 0, publishedAt DATETIME(3) NULL, createdAt DATETIME(3) NOT NULL,
    FOREIGN KEY (authorId) REFERENCES `user` (id)
);
CREATE TABLE session (
    id VARCHAR(191) NOT NULL PRIMARY KEY, sessionToken VARCHAR(191) NOT NULL UNIQUE, userId CHAR(36) NOT NULL,
    expires DATETIME(3) NOT NULL, FOREIGN KEY (userId) REFERENCES `user` (id)
);
CREATE TABLE verificationToken (
    identifier VARCHAR(191) NOT NULL, token VARCHAR(191) NOT NULL, expires DATETIME(3) NOT NULL,
    PRIMARY KEY (identifier, token)
);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('5f4b1c2a9e10');
INSERT INTO `user` (id, email, fullName, emailVerified, `role`, settings, createdAt, updatedAt) VALUES
    ('11111111-1111-4111-8111-111111111111', 'ann@example.com', 'Ann', '2016-01-01', 'ADMIN',
    '{"theme": "dark", "mails": {"digest": true}}', '2016-07-01', '2016-07-01'),
    ('22222222-2222-4222-8222-222222222222', 'bob@example.com', NULL, '2016-01-01', 'USER',
    '{"theme": "dark", "mails": {"digest": false}}', '2016-07-31 23:59:59.999', '2016-07-01'),
    ('33333333-3333-4333-8333-333333333333', 'cy@example.com', 'Cy', '2016-01-01', 'USER', NULL, '2016-08-01',
    '2016-07-01');
INSERT INTO blogEntries VALUES
    ('01AN4Z07BY79KA1307SR9X4MV3', 'Hello', '', '11111111-1111-4111-8111-111111111111', 'PUBLISHED', 3, 1,
    '2016-08-03 12:00:00', '2016-08-01'),
    ('01AN4Z07BY79KA1307SR9X4MV4', 'Secret', '', '11111111-1111-4111-8111-111111111111', 'DRAFT', 3, 1,
    '2016-08-03 12:00:00', '2016-08-01');
INSERT INTO session VALUES
    ('a', 'a', '11111111-1111-4111-8111-111111111111', '2016-08-04 01:00:00'),
    ('b', 'b', '11111111-1111-4111-8111-111111111111', '2016-08-05 01:00:00');
INSERT INTO verificationToken VALUES ('ann@example.com', 'a', '2016-08-01'), ('bob@example.com', 'b', '2016-08-05');
"""

# Swapped UUIDs in bytes, epoch milliseconds and seconds, a status as text, the choice in a table of preferences.
BYTES = """
CREATE TABLE customers (
    customer_id BINARY(16) NOT NULL PRIMARY KEY, customer_email VARCHAR(200) NOT NULL, nickname VARCHAR(50) NOT NULL,
    status VARCHAR(20) NOT NULL, user_role VARCHAR(20) NOT NULL, registered BIGINT NOT NULL
);
CREATE TABLE customer_preferences (
    customer_id BINARY(16) NOT NULL PRIMARY KEY, theme VARCHAR(10) NOT NULL,
    digest_frequency ENUM('never', 'weekly', 'daily') NOT NULL,
    FOREIGN KEY (customer_id) REFERENCES customers (customer_id)
);
CREATE TABLE stories (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, subject VARCHAR(100) NOT NULL, text TEXT NOT NULL,
    byline VARCHAR(50) NOT NULL, state VARCHAR(20) NOT NULL, hits INT NOT NULL, score INT NOT NULL,
    posted_at INT UNSIGNED NOT NULL, KEY stories_posted (posted_at)
);
CREATE TABLE devices (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id BINARY(16) NOT NULL, last_seen BIGINT NOT NULL,
    FOREIGN KEY (customer_id) REFERENCES customers (customer_id)
);
CREATE VIEW active_customers AS SELECT customer_email FROM customers WHERE status = 'active';
INSERT INTO customers VALUES
    (X'1026BABA6CCD780C95645B8C656024DB', 'ann@example.com', 'Ann', 'active', 'administrator',
    1467331200000),
    (X'11E657F88D7F3F608B7786F30CA893D3', 'bob@example.com', 'Bob', 'pending', 'customer',
    1470009599999),
    (X'11E657F9F1A1C0EA8B7786F30CA893D3', 'cy@example.com', 'Cy', 'active', 'customer',
    1470009600000);
INSERT INTO customer_preferences SELECT customer_id, 'dark', IF(nickname = 'Cy', 'weekly', 'daily') FROM customers;
INSERT INTO stories (subject, text, byline, state, hits, score, posted_at) VALUES
    ('Too early', '', 'Ann', 'published', 1, 1, 1470182399), ('Hello', '', 'Ann', 'published', 1, 1, 1470182400),
    ('Draft', '', 'Ann', 'draft', 1, 1, 1470182400), ('Too late', '', 'Ann', 'published', 1, 1, 1470268800);
INSERT INTO devices (customer_id, last_seen) SELECT customer_id, 1470225600000 FROM customers WHERE nickname <> 'Cy';
"""
