"""Tables and views with all that MySQL 9.7 and MariaDB 11.8 let a definition say, as people write it."""

MYSQL = [
    "create table p (id int primary key, name varchar(20), unique key (name))",
    "create table t1 (id bigint unsigned not null auto_increment primary key, a int not null default 5 check "
    "(a between 1 and 10), b varchar(200) default (concat('x', uuid())), c json, d decimal(10,2) generated "
    "always as (json_unquote(json_extract(c,'$.d'))) stored, e datetime(6) default current_timestamp(6) on "
    "update current_timestamp(6), f set('a','b c','d''e'), g enum('x(','y') charset latin1 collate "
    "latin1_bin, h point not null srid 4326, i text, j int invisible, k date default (curdate() + interval 1 "
    "day), l vector(3), m varchar(10) as (case when a > (3) then lower(b) else upper(b) end) virtual, n "
    "bit(8) default b'101', o binary(16) default (uuid_to_bin(uuid())), q varchar(30) default 'it''s \\\\ \"q\" "
    "/* c */ -- ', pid int, key k1 (b(10),a desc), key k2 ((lower(b))), key k3 ((cast(c->'$.ids' as unsigned "
    "array))), fulltext key ft (i) with parser ngram, spatial key sp (h), key k4 (a) invisible comment 'x(', "
    "unique key u ((if(a>1,a,null))), constraint `fk` foreign key (pid) references p (id) on delete set null "
    "on update cascade, constraint ck check ((a in (1,2,3)) and regexp_like(b,'^x')) not enforced) "
    "comment='c(' row_format=dynamic stats_persistent=1 auto_increment=100 default charset=utf8mb4 "
    "collate=utf8mb4_0900_ai_ci key_block_size=0",
    "create table t2 (id int, at datetime not null, primary key (id, at)) partition by range (to_days(at)) "
    "subpartition by hash (id) subpartitions 2 (partition p0 values less than (to_days('2020-01-01')), "
    "partition p1 values less than maxvalue)",
    "create table t3 (id int, c varchar(10)) partition by list columns (c) (partition pa values in ('a','b') "
    "comment 'x', partition pb values in ('c'))",
    "create table t4 (id int primary key) partition by key algorithm=2 (id) partitions 4",
    "create table t5 (id int, unique key (id)) partition by linear hash (id mod 7) partitions 3",
    "create table t6 (a int, b date) partition by range columns(a,b) (partition p0 values less than "
    "(1,'2020-01-01'), partition p1 values less than (maxvalue, maxvalue))",
    "create table t7 (id int) engine=myisam checksum=1 delay_key_write=1 max_rows=10 min_rows=2 pack_keys=1 "
    "avg_row_length=100",
    "create table t8 (id int) engine=merge union=(t7) insert_method=last",
    "create table t9 (id int) compression='zlib' encryption='n' autoextend_size=4m tablespace=innodb_file_per_table",
    "create table t10 (id int primary key auto_increment, ts timestamp null, i float(7,3), y year)",
    "create algorithm=merge view v1 as select a.id, trim(leading '0' from a.b) x, extract(year from a.e) y, "
    "group_concat(distinct a.b order by a.a desc separator ',') g, cast(a.c as char(10) charset latin1) z, "
    "convert(a.b using latin1) w from t1 a left join (p b join t2 c on b.id=c.id) on a.id=b.id where a.a in "
    "(1,2) and exists(select 1 from p where p.id=a.pid) and match(a.i) against ('x' in boolean mode) group by"
    " a.id, a.b, a.e, a.c with rollup having count(*) > (1) order by 1 limit 5",
    "create view v2 as with recursive cte(n) as (select 1 union all select n+1 from cte where n < 5), d as "
    "(select 1 as z) select cte.n, row_number() over (partition by d.z order by cte.n rows between 1 "
    "preceding and current row) r, sum(n) over w s from cte, d window w as (order by n)",
    "create view v3 as select j.* from t1, json_table(t1.c, '$[*]' columns (id for ordinality, x int path "
    "'$.x' default '0' on empty, nested path '$.y[*]' columns (yy varchar(10) path '$'))) as j",
    "create view v4 as select * from p union select id, id from t2 partition (p0) use index (primary) except "
    "select 1, 2",
    "create view v5 as select a.id from t1 a, t2 b, lateral (select max(c.id) m from t2 c where c.id < a.id) "
    "l where a.id = b.id and (a.a, b.id) = (select 1,2) and a.a member of ('[1,2]') and not (a.b like '%x' or"
    " a.b regexp 'y') and a.a is not null and a.b between ('a') and ('b')",
    "create view v6 as select substring(b from 2 for 3) s, position('a' in b) po, char(65,66 using utf8mb4) "
    "c, weight_string(b as char(3)) ws, interval(1,2,3) i, a div 2 q, a mod 3 m, ~a n, -a mi, a ^ 1 x, 1 from"
    " (select b, a, c as `other` , c as a2 from t1) a join (select 1 as k) k2 where false",
    "create view v7 as values row(1,2), row(3,4)",
    "create view v8 as table p",
    "create view v9 as select 1 as x, database() db, current_user() cu, version() ve, date_add(now(), "
    "interval 1 day) da, timestampdiff(month, now(), now()) td, now() + interval 5 minute z, if(1,2,3) f, "
    "coalesce(null,1) co, convert('x', char(5)) cc, cast('1' as decimal(5,2)) de, _latin1'x' collate "
    "latin1_bin la, x'41' hx, n'x' nx, st_astext(point(1,2)) po, json_arrayagg(1) ja, "
    "bin_to_uuid(uuid_to_bin(uuid())) bu, any_value(1) av",
    "create json relational duality view v10 as select json_duality_object(with(insert,update,delete) '_id': id, "
    "'name': name) from p",
]

MARIADB = [
    "create sequence s1 start with 5 increment by 3 cache 10 cycle",
    "create sequence s2 as smallint unsigned",
    "create table p (id int primary key, name varchar(20), unique key (name)) comment 'x'",
    "create table t1 (id bigint unsigned not null auto_increment primary key, a int not null default 5 check "
    "(a between 1 and 10), b varchar(200) default concat('x', uuid()), c json, d decimal(10,2) generated "
    "always as (json_unquote(json_extract(c,'$.d'))) stored, e datetime(6) default current_timestamp(6) on "
    "update current_timestamp(6), f set('a','b c','d''e'), g enum('x(','y') charset latin1 collate "
    "latin1_bin, h point not null, i text, j int invisible, k date default (curdate() + interval 1 day), l "
    "vector(3) not null, m varchar(10) as (case when a > (3) then lower(b) else upper(b) end) virtual, n "
    "bit(8) default b'101', q varchar(30) default 'it''s \\\\ \"q\" /* c */ -- ', pid int, s int default "
    "nextval(s1), u uuid default uuid(), i6 inet6, i4 inet4, comp text compressed, key k1 (b(10),a desc), "
    "fulltext key ft (i), spatial key sp (h), key k4 (a) ignored comment 'x(', vector key vk (l) m=8 "
    "distance=cosine, constraint `fk` foreign key (pid) references p (id) on delete set null on update "
    "cascade, constraint ck check (a in (1,2,3) and b regexp '^x')) comment='c(' row_format=dynamic "
    "stats_persistent=1 auto_increment=100 page_compressed=1 page_compression_level=3",
    "create table t2 (id int, at datetime not null, primary key (id, at)) partition by range (to_days(at)) "
    "subpartition by hash (id) subpartitions 2 (partition p0 values less than (to_days('2020-01-01')), "
    "partition p1 values less than maxvalue)",
    "create table t3 (id int, c varchar(10)) partition by list columns (c) (partition pa values in ('a','b') "
    "comment 'x', partition pb values in ('c'), partition pd default)",
    "create table t4 (id int primary key) partition by key algorithm=2 (id) partitions 4",
    "create table t5 (id int, unique key (id)) partition by linear hash (id mod 7) partitions 3",
    "create table t6 (a int, b date) partition by range columns(a,b) (partition p0 values less than "
    "(1,'2020-01-01'), partition p1 values less than (maxvalue, maxvalue))",
    "create table t7 (id int) engine=myisam checksum=1 delay_key_write=1 max_rows=10 min_rows=2 pack_keys=1 "
    "avg_row_length=100",
    "create table t8 (id int) engine=merge union=(t7) insert_method=last",
    "create table t9 (x int, t datetime(6), start_ts timestamp(6) generated always as row start, end_ts "
    "timestamp(6) generated always as row end, period for system_time(start_ts, end_ts)) with system "
    "versioning",
    "create table t10 (x int) with system versioning partition by system_time interval 1 month starts "
    "timestamp'2021-01-01 00:00:00' auto partitions 3",
    "create table t11 (x int) with system versioning partition by system_time limit 1000 (partition p0 "
    "history, partition pc current)",
    "create table t12 (id int, s date, e date, period for ap(s,e), primary key (id, ap without overlaps))",
    "create table t13 (n int) engine=aria transactional=1 page_checksum=1",
    "create table t14 (n int without system versioning, m int) with system versioning",
    "create algorithm=merge view v1 as select a.id, trim(leading '0' from a.b) x, extract(year from a.e) y, "
    "group_concat(distinct a.b order by a.a desc separator ',' limit 3) g, cast(a.c as char(10) charset "
    "latin1) z, convert(a.b using latin1) w from t1 a left join (p b join t2 c on b.id=c.id) on a.id=b.id "
    "where a.a in (1,2) and exists(select 1 from p where p.id=a.pid) and match(a.i) against ('x' in boolean "
    "mode) group by a.id, a.b, a.e, a.c having count(*) > (1) order by 1 limit 5",
    "create view v2 as with recursive cte(n) as (select 1 union all select n+1 from cte where n < 5), d as "
    "(select 1 as z) select cte.n, row_number() over (partition by d.z order by cte.n) r from cte, d",
    "create view v3 as select j.* from json_table('[]', '$[*]' columns (id for ordinality, x int path "
    "'$.x' default '0' on empty, nested path '$.y[*]' columns (yy varchar(10) path '$'))) as j",
    "create view v4 as select * from p union select id, id from t2 partition (p0) use index (primary) except "
    "select 1, 2",
    "create view v5 as select a.id from t1 a, t2 b where a.id = b.id and (a.a, b.id) = (select 1,2) and not "
    "(a.b like '%x' or a.b regexp 'y') and a.a is not null and a.b between ('a') and ('b')",
    "create view v6 as select substring(b from 2 for 3) s, position('a' in b) po, char(65,66 using utf8mb4) "
    "c, weight_string(b as char(3)) ws, interval(1,2,3) i, a div 2 q, a mod 3 m, ~a n, -a mi, a ^ 1 x from "
    "(select b, a, c as `other` , c as a2 from t1) a join (select 1 as k) k2 where false",
    "create view v7 as select next value for s1 as nv, nextval(s1) nn, previous value for s1 pv",
    "create view v9 as select 1 as x, database() db, current_user() cu, version() ve, date_add(now(), "
    "interval 1 day) da, timestampdiff(month, now(), now()) td, now() + interval 5 minute z, if(1,2,3) f, "
    "coalesce(null,1) co, convert('x', char(5)) cc, cast('1' as decimal(5,2)) de, _latin1'x' collate "
    "latin1_bin la, x'41' hx, n'x' nx, st_astext(point(1,2)) po, json_arrayagg(1) ja, "
    "`t9`.x as xx, to_char(now(), 'YYYY') tc, "
    "insert('a',1,1,'b') ins, replace('a','b','c') re, left('a',1) l, right('a',1) r, repeat('a',2) rp, "
    "mod(5,2) mo, truncate(1,2) tr, adddate('2020-01-01', 3) ad, password('x') pw from t9",
]
