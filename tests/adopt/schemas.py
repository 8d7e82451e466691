"""The default schemas of frameworks, written from their documentation, with rows of the summer of 2016."""

# laravel.com/docs: the migrations of a new application, whose queue and cache are in the database.
LARAVEL = """
CREATE TABLE users (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL,
    email VARCHAR(255) NOT NULL, email_verified_at TIMESTAMP NULL, password VARCHAR(255) NOT NULL,
    remember_token VARCHAR(100) NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL,
    UNIQUE KEY users_email_unique (email)
);
CREATE TABLE password_reset_tokens (
    email VARCHAR(255) NOT NULL PRIMARY KEY, token VARCHAR(255) NOT NULL, created_at TIMESTAMP NULL
);
CREATE TABLE sessions (
    id VARCHAR(255) NOT NULL PRIMARY KEY, user_id BIGINT UNSIGNED NULL, ip_address VARCHAR(45) NULL,
    user_agent TEXT NULL, payload LONGTEXT NOT NULL, last_activity INT NOT NULL,
    KEY sessions_user_id_index (user_id), KEY sessions_last_activity_index (last_activity)
);
CREATE TABLE cache (
    `key` VARCHAR(255) NOT NULL PRIMARY KEY, value MEDIUMTEXT NOT NULL, expiration INT NOT NULL
);
CREATE TABLE cache_locks (
    `key` VARCHAR(255) NOT NULL PRIMARY KEY, owner VARCHAR(255) NOT NULL, expiration INT NOT NULL
);
CREATE TABLE jobs (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, queue VARCHAR(255) NOT NULL, payload LONGTEXT NOT NULL,
    attempts TINYINT UNSIGNED NOT NULL, reserved_at INT UNSIGNED NULL, available_at INT UNSIGNED NOT NULL,
    created_at INT UNSIGNED NOT NULL, KEY jobs_queue_index (queue)
);
CREATE TABLE job_batches (
    id VARCHAR(255) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, total_jobs INT NOT NULL,
    pending_jobs INT NOT NULL, failed_jobs INT NOT NULL, failed_job_ids LONGTEXT NOT NULL, options MEDIUMTEXT NULL,
    cancelled_at INT NULL, created_at INT NOT NULL, finished_at INT NULL
);
CREATE TABLE failed_jobs (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(255) NOT NULL, connection TEXT NOT NULL,
    queue TEXT NOT NULL, payload LONGTEXT NOT NULL, exception LONGTEXT NOT NULL,
    failed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY failed_jobs_uuid_unique (uuid)
);
CREATE TABLE migrations (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, migration VARCHAR(255) NOT NULL, batch INT NOT NULL
);
SET time_zone = '+00:00';
INSERT INTO users (id, name, email, email_verified_at, password, created_at) VALUES
    (1, 'Ann', 'ann@example.com', '2016-07-02', 'x', '2016-07-01 00:00:00'),
    (2, 'Bob', 'bob@example.com', NULL, 'x', '2016-07-31 23:59:59'),
    (3, 'Cy', 'cy@example.com', '2016-01-01', 'x', '2016-08-01 00:00:00');
INSERT INTO password_reset_tokens VALUES
    ('ann@example.com', 'a', '2016-08-01 10:00:00'), ('bob@example.com', 'b', '2016-08-04 01:00:00');
INSERT INTO sessions (id, user_id, payload, last_activity) VALUES
    ('a', 1, '', UNIX_TIMESTAMP('2016-08-03 12:00:00')), ('b', 1, '', UNIX_TIMESTAMP('2016-08-03 13:00:00')),
    ('c', NULL, '', UNIX_TIMESTAMP('2016-08-03 12:00:00')), ('d', 2, '', UNIX_TIMESTAMP('2016-06-03 12:00:00'));
"""

# docs.djangoproject.com: what `migrate` makes for auth, sessions, admin and contenttypes.
DJANGO = """
CREATE TABLE django_migrations (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, app VARCHAR(255) NOT NULL, name VARCHAR(255) NOT NULL,
    applied DATETIME(6) NOT NULL
);
CREATE TABLE django_content_type (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, app_label VARCHAR(100) NOT NULL, model VARCHAR(100) NOT NULL,
    UNIQUE KEY django_content_type_uniq (app_label, model)
);
CREATE TABLE auth_permission (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL, content_type_id INT NOT NULL,
    codename VARCHAR(100) NOT NULL, FOREIGN KEY (content_type_id) REFERENCES django_content_type (id)
);
CREATE TABLE auth_group (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(150) NOT NULL UNIQUE);
CREATE TABLE auth_user (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, password VARCHAR(128) NOT NULL, last_login DATETIME(6) NULL,
    is_superuser TINYINT(1) NOT NULL, username VARCHAR(150) NOT NULL UNIQUE, first_name VARCHAR(150) NOT NULL,
    last_name VARCHAR(150) NOT NULL, email VARCHAR(254) NOT NULL, is_staff TINYINT(1) NOT NULL,
    is_active TINYINT(1) NOT NULL, date_joined DATETIME(6) NOT NULL
);
CREATE TABLE auth_user_groups (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT NOT NULL, group_id INT NOT NULL,
    FOREIGN KEY (user_id) REFERENCES auth_user (id), FOREIGN KEY (group_id) REFERENCES auth_group (id)
);
CREATE TABLE django_admin_log (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, action_time DATETIME(6) NOT NULL, object_id LONGTEXT NULL,
    object_repr VARCHAR(200) NOT NULL, action_flag SMALLINT UNSIGNED NOT NULL, change_message LONGTEXT NOT NULL,
    content_type_id INT NULL, user_id INT NOT NULL, FOREIGN KEY (user_id) REFERENCES auth_user (id)
);
CREATE TABLE django_session (
    session_key VARCHAR(40) NOT NULL PRIMARY KEY, session_data LONGTEXT NOT NULL, expire_date DATETIME(6) NOT NULL,
    KEY django_session_expire_date (expire_date)
);
INSERT INTO auth_user VALUES
    (1, 'x', '2016-08-03 10:00:00', 1, 'ann', '', '', 'ann@example.com', 1, 1, '2016-07-01 00:00:00.000000'),
    (2, 'x', NULL, 0, 'bob', 'Bob', 'Builder', 'bob@example.com', 0, 0, '2016-07-31 23:59:59.999999'),
    (3, 'x', NULL, 0, 'cy', 'Cy', 'Clone', 'cy@example.com', 0, 1, '2016-08-01 00:00:00.000000');
INSERT INTO django_session VALUES
    ('a', '', '2016-08-04 01:59:59.999999'), ('b', '', '2016-08-04 02:00:00.000000'), ('c', '', '2016-07-04');
"""

# codex.wordpress.org, Database Description: the tables of a new site, as far as they matter here.
WORDPRESS = """
CREATE TABLE wp_users (
    ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_login VARCHAR(60) NOT NULL DEFAULT '',
    user_pass VARCHAR(255) NOT NULL DEFAULT '', user_nicename VARCHAR(50) NOT NULL DEFAULT '',
    user_email VARCHAR(100) NOT NULL DEFAULT '', user_url VARCHAR(100) NOT NULL DEFAULT '',
    user_registered DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00',
    user_activation_key VARCHAR(255) NOT NULL DEFAULT '', user_status INT NOT NULL DEFAULT 0,
    display_name VARCHAR(250) NOT NULL DEFAULT '',
    KEY user_login_key (user_login), KEY user_nicename (user_nicename), KEY user_email (user_email)
);
CREATE TABLE wp_usermeta (
    umeta_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id BIGINT UNSIGNED NOT NULL DEFAULT 0,
    meta_key VARCHAR(255) NULL, meta_value LONGTEXT NULL, KEY user_id (user_id), KEY meta_key (meta_key(191))
);
CREATE TABLE wp_posts (
    ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, post_author BIGINT UNSIGNED NOT NULL DEFAULT 0,
    post_date DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00',
    post_date_gmt DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', post_content LONGTEXT NOT NULL,
    post_title TEXT NOT NULL, post_excerpt TEXT NOT NULL, post_status VARCHAR(20) NOT NULL DEFAULT 'publish',
    comment_status VARCHAR(20) NOT NULL DEFAULT 'open', ping_status VARCHAR(20) NOT NULL DEFAULT 'open',
    post_password VARCHAR(255) NOT NULL DEFAULT '', post_name VARCHAR(200) NOT NULL DEFAULT '',
    to_ping TEXT NOT NULL, pinged TEXT NOT NULL,
    post_modified DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00',
    post_modified_gmt DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', post_content_filtered LONGTEXT NOT NULL,
    post_parent BIGINT UNSIGNED NOT NULL DEFAULT 0, guid VARCHAR(255) NOT NULL DEFAULT '',
    menu_order INT NOT NULL DEFAULT 0, post_type VARCHAR(20) NOT NULL DEFAULT 'post',
    post_mime_type VARCHAR(100) NOT NULL DEFAULT '', comment_count BIGINT NOT NULL DEFAULT 0,
    KEY post_name (post_name(191)), KEY type_status_date (post_type, post_status, post_date, ID),
    KEY post_parent (post_parent), KEY post_author (post_author)
);
CREATE TABLE wp_comments (
    comment_ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, comment_post_ID BIGINT UNSIGNED NOT NULL,
    comment_author TINYTEXT NOT NULL, comment_author_email VARCHAR(100) NOT NULL DEFAULT '',
    comment_date_gmt DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', comment_content TEXT NOT NULL,
    user_id BIGINT UNSIGNED NOT NULL DEFAULT 0
);
CREATE TABLE wp_options (
    option_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, option_name VARCHAR(191) NOT NULL UNIQUE,
    option_value LONGTEXT NOT NULL, autoload VARCHAR(20) NOT NULL DEFAULT 'yes'
);
INSERT INTO wp_users (ID, user_login, user_email, user_registered, display_name) VALUES
    (1, 'ann', 'ann@example.com', '2016-07-01 00:00:00', 'Ann'),
    (2, 'bob', 'bob@example.com', '2016-07-31 23:59:59', 'Bob'), (3, 'cy', 'cy@example.com', '2016-08-01', 'Cy');
INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES
    (1, 'nickname', 'ann'), (1, 'wp_capabilities', 'a:1:{s:13:"administrator";b:1;}'),
    (2, 'wp_capabilities', 'a:1:{s:10:"subscriber";b:1;}'), (2, 'session_tokens', 'a:0:{}');
INSERT INTO wp_posts
    (post_author, post_date, post_date_gmt, post_title, post_status, post_type, guid, comment_count, post_content,
    post_excerpt, to_ping, pinged, post_content_filtered)
    VALUES
    (1, '2016-08-03 01:59:59', '2016-08-02 23:59:59', 'Too early', 'publish', 'post', 'https://b.example/?p=1', 1,
    '', '', '', '', ''),
    (1, '2016-08-03 02:00:00', '2016-08-03 00:00:00', 'Hello', 'publish', 'post', 'https://b.example/?p=2', 3,
    '', '', '', '', ''),
    (2, '2016-08-03 12:00:00', '2016-08-03 10:00:00', 'Imprint', 'publish', 'page', 'https://b.example/?p=3', 0,
    '', '', '', '', ''),
    (2, '2016-08-03 12:00:00', '0000-00-00 00:00:00', 'Unfinished', 'draft', 'post', 'https://b.example/?p=4', 0,
    '', '', '', '', ''),
    (2, '2016-08-03 12:00:00', '2016-08-03 10:00:00', 'Old text', 'inherit', 'revision', 'https://b.example/?p=5', 0,
    '', '', '', '', ''),
    (2, '2016-07-03 12:00:00', '2016-07-03 10:00:00', 'July', 'publish', 'post', 'https://b.example/?p=6', 0,
    '', '', '', '', '');
"""
