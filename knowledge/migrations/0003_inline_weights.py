from django.db import migrations


class Migration(migrations.Migration):
    """Keep vectors and posting lists in their rows: a scan that fetches them elsewhere takes twice as long."""

    dependencies = [("knowledge", "0002_tables")]
    operations = [
        migrations.RunSQL(
            [
                "ALTER TABLE knowledge_chunkterms SET (toast_tuple_target = 8160)",
                "ALTER TABLE knowledge_chunkterms ALTER weights SET STORAGE EXTERNAL",
                "ALTER TABLE knowledge_embedding SET (toast_tuple_target = 8160)",
                "ALTER TABLE knowledge_posting SET (toast_tuple_target = 8160)",
                "ALTER TABLE knowledge_posting ALTER packed SET STORAGE EXTERNAL",
            ],
            [
                "ALTER TABLE knowledge_chunkterms RESET (toast_tuple_target)",
                "ALTER TABLE knowledge_chunkterms ALTER weights SET STORAGE EXTENDED",
                "ALTER TABLE knowledge_embedding RESET (toast_tuple_target)",
                "ALTER TABLE knowledge_posting RESET (toast_tuple_target)",
                "ALTER TABLE knowledge_posting ALTER packed SET STORAGE EXTENDED",
            ],
        )
    ]
